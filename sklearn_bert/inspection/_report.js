"use strict";
// Texts come from the element "data" and reach the page as text alone: by textContent.
(() => {
  const AT_A_TIME = 50;
  const data = JSON.parse(document.getElementById("data").textContent);
  const find = (id) => document.getElementById(id);
  const controls = ["search", "show", "label", "predicted"].map(find);
  const [search, show, label, predicted] = controls;
  const list = find("list");
  const more = find("more");
  let shown = [];

  const make = (tag, className, ...children) => {
    const element = document.createElement(tag);
    if (className) element.className = className;
    element.append(...children); // strings become text
    return element;
  };

  const plain = (text) => text.filter((_, place) => place % 2 === 0).join("");
  for (const row of data.rows) row.lower = plain(row.text).toLowerCase();

  const colored = (text) => {
    const words = make("p", "words");
    words.dir = "auto";
    for (let place = 0; place < text.length; place += 2) {
      const strength = text[place + 1] || 0;
      if (!strength) {
        words.append(text[place]);
        continue;
      }
      const mark = make("mark", strength < 0 ? "against" : "", text[place]);
      const color = strength < 0 ? "--right" : "--wrong";
      const percent = Math.abs(strength);
      mark.style.background = `color-mix(in srgb, var(${color}) ${percent}%, transparent)`;
      words.append(mark);
    }
    return words;
  };

  const neighbours = (row) => {
    const items = row.near.map(([place, cosine]) => {
      const [text, name] = data.train[place];
      const of = name === null ? "" : ` ${name}`;
      const item = make("li", "", make("span", "soft", `${cosine.toFixed(2)}${of}: `), text);
      item.dir = "auto";
      return item;
    });
    const list = make("ul", "", ...items);
    return make("details", "", make("summary", "", "Nearest training texts"), list);
  };

  const article = (row) => {
    const own = data.classes[row.label];
    const other = data.classes[row.predicted];
    const classes = make("p", "classes", "label ", make("b", "", own));
    if (own === other) classes.append(", predicted too");
    else classes.append(", predicted ", make("b", "", other));
    if (row.rank) classes.append(make("span", "badge", `doubtful label ${row.rank}`));
    const facts = [`X[${row.row}]`, `p(label) ${row.p_label.toFixed(3)}`];
    if (own !== other) facts.push(`p(predicted) ${row.p_predicted.toFixed(3)}`);
    facts.push(`loss ${row.loss.toFixed(2)}`, `margin ${row.margin.toFixed(2)}`);
    if (row.target !== undefined) facts.push(`coloured for ${data.classes[row.target]}`);
    const numbers = make("p", "numbers", ...facts.map((fact) => make("span", "", fact)));
    const found = make("article", "", classes, colored(row.text), numbers);
    if (row.near) found.append(neighbours(row));
    return found;
  };

  const extend = () => {
    const begin = list.children.length;
    list.append(...shown.slice(begin, begin + AT_A_TIME).map(article));
    more.hidden = list.children.length >= shown.length;
  };

  const update = () => {
    const words = search.value.trim().toLowerCase();
    shown = data.rows.filter(
      (row) =>
        (show.value !== "doubtful" || row.rank) &&
        (show.value !== "wrong" || row.label !== row.predicted) &&
        (label.value === "" || row.label === Number(label.value)) &&
        (predicted.value === "" || row.predicted === Number(predicted.value)) &&
        row.lower.includes(words),
    );
    list.replaceChildren();
    const one = shown.length === 1 ? "text" : "texts";
    find("count").textContent = `${shown.length.toLocaleString("en")} ${one}`;
    extend();
  };

  const open = (own, other) => {
    search.value = "";
    show.value = "all";
    label.value = own;
    predicted.value = other;
    update();
    find("texts").scrollIntoView();
  };

  for (const select of [label, predicted]) {
    data.classes.forEach((name, place) => select.append(new Option(name, place)));
  }
  for (const control of controls) control.addEventListener("input", update);
  more.addEventListener("click", extend);
  find("reset").addEventListener("click", () => open("", ""));
  document.addEventListener("click", (event) => {
    const cell = event.target.closest("[data-label]");
    if (cell) open(cell.dataset.label, cell.dataset.predicted ?? "");
  });
  update();
})();
