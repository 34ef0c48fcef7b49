// Shows private notes of moderators, in every tab of the connection that they were sent to.
(() => {
  const notes = document.getElementById("notes");
  const template = document.getElementById("private-note");

  QuartSSE.on("connection", "note", ({ by, text }) => {
    const note = template.content.firstElementChild.cloneNode(true);
    note.querySelector(".private-note-by").textContent = by;
    note.querySelector(".private-note-text").textContent = text;
    note.querySelector("button").addEventListener("click", () => note.remove());
    notes.append(note);
  });
})();
