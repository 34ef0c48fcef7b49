// Lets cards be dragged. It changes nothing itself: it fills in and sends the form #drop-form, and the
// card moves here when it moves everywhere. Keyboards, and pages without scripts, have the buttons.
(() => {
  const TYPE = "application/x-shed-card"; // so that nothing else that is dragged here counts
  const board = document.getElementById("board");
  const form = document.getElementById("drop-form");
  let dragged = "";

  // Listeners sit on the board, which stays: a refresh may replace every card, even while one is
  // dragged.
  board.addEventListener("dragstart", (event) => {
    const card = event.target.closest?.("[data-card]");
    if (!card) return;
    dragged = card.dataset.card;
    event.dataTransfer.effectAllowed = "move";
    event.dataTransfer.setData(TYPE, dragged);
    card.classList.add("is-dragged");
  });

  board.addEventListener("dragover", (event) => {
    const place = placeAt(event);
    if (!place) return;
    event.preventDefault(); // it may be dropped here
    unmark();
    (place.before ?? place.column).classList.add(place.before ? "is-before" : "is-end");
  });

  board.addEventListener("dragleave", (event) => {
    if (!board.contains(event.relatedTarget)) unmark();
  });

  board.addEventListener("drop", (event) => {
    const place = placeAt(event);
    if (!place) return;
    event.preventDefault();
    const { stage } = place.column.dataset;
    form.elements.card.value = event.dataTransfer.getData(TYPE);
    form.elements.to.value = place.before ? `${stage}:${place.before.dataset.card}` : stage;
    form.requestSubmit();
  });

  document.addEventListener("dragend", end);
  document.addEventListener("drop", end);

  // The column under the pointer, and the card there that a dropped one would go before, if any.
  function placeAt(event) {
    const column = event.target.closest?.("[data-stage]");
    if (!column || !event.dataTransfer.types.includes(TYPE)) return null;
    const isBelow = (card) => {
      const { top, height } = card.getBoundingClientRect();
      return event.clientY < top + height / 2;
    };
    const others = [...column.querySelectorAll("[data-card]")].filter(
      (card) => card.dataset.card !== dragged
    );
    return { column, before: others.find(isBelow) };
  }

  function unmark() {
    for (const marked of board.querySelectorAll(".is-before, .is-end"))
      marked.classList.remove("is-before", "is-end");
  }

  function end() {
    unmark();
    dragged = "";
    board.querySelector(".is-dragged")?.classList.remove("is-dragged");
  }
})();
