
"use strict";
const words = document.getElementById("words");
const kind = document.getElementById("kind");
const count = document.getElementById("count");
const rows = Array.from(document.getElementById("rows").rows, (row) => ({
  row,
  kind: row.dataset.kind,
  text: row.textContent.toLowerCase(),
}));

function choose() {
  const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const { row, kind: own, text } of rows) {
    const fits = (!kind.value || own === kind.value || own.startsWith(kind.value + " "))
      && wanted.every((word) => text.includes(word));
    row.hidden = !fits;
    shown += fits;
  }
  count.value = `${shown} of ${rows.length}`;
}

words.addEventListener("input", choose);
kind.addEventListener("change", choose);
choose();
