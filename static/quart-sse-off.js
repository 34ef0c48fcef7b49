/*
 * quart-sse-off.js: say that a page is not live which was rendered so; see sse_connect(enabled=false).
 *
 * quart-sse.js knows no state of a page that it connects nothing for.
 */
(() => {
  const { dataset } = document.documentElement;
  const STATE = "stopped";
  let isSaid = false; // by this script

  const say = () => {
    const isOff = document.querySelector("[data-sse-off]");
    if (isOff && !dataset.sseState) {
      dataset.sseState = STATE;
      const detail = { state: STATE, error: null };
      if (!isSaid) document.dispatchEvent(new CustomEvent("sse:stopped", { bubbles: true, detail }));
      isSaid = true;
    } else if (isSaid && !isOff) {
      isSaid = false;
      if (dataset.sseState === STATE) delete dataset.sseState;
    }
  };

  // quart-sse.js takes the state away whenever something comes or goes that it looks at.
  new MutationObserver(say).observe(document, {
    childList: true,
    subtree: true,
    attributeFilter: ["data-sse-state"],
  });
  say();
})();
