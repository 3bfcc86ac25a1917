"use strict";
(() => {
  const svg = document.getElementById("graph");
  const picture = svg.parentElement;
  const [, , width, height] = svg.getAttribute("viewBox").split(" ").map(Number);
  const nodes = new Map([...svg.querySelectorAll("[data-table]")].map((node) => [node.dataset.table, node]));
  const edges = [...svg.querySelectorAll("[data-from]")];
  const found = document.getElementById("found");
  let view = { x: 0, y: 0, width, height };
  let chosen = null;

  document.querySelectorAll(".tools, .hint").forEach((element) => { element.hidden = false; });
  picture.classList.add("zooms");

  const show = () => svg.setAttribute("viewBox", `${view.x} ${view.y} ${view.width} ${view.height}`);
  const place = (x, y) => {
    const at = new DOMPoint(x, y).matrixTransform(svg.getScreenCTM().inverse());
    return { x: at.x, y: at.y };
  };
  const middle = () => ({ x: view.x + view.width / 2, y: view.y + view.height / 2 });
  const zoom = (factor, at = middle()) => {
    const next = Math.min(Math.max(view.width * factor, 200), width * 2);
    const real = next / view.width;
    view = {
      x: at.x - (at.x - view.x) * real, y: at.y - (at.y - view.y) * real,
      width: next, height: view.height * real,
    };
    show();
  };
  const fit = () => { view = { x: 0, y: 0, width, height }; show(); };
  const begin = () => {
    // In a narrow window all of it would be too small to see anything: its left side, where the tenants are.
    const shape = svg.clientWidth / svg.clientHeight;
    if (shape > 0 && shape < 1) { view = { x: 0, y: 0, width: Math.min(width, height * shape), height }; show(); }
  };
  const goTo = (node) => {
    const box = node.getBBox(), at = node.transform.baseVal[0].matrix;
    const wide = Math.min(1100, width);
    view = { x: at.e + box.width / 2 - wide / 2, y: at.f - (wide * height) / width / 2, width: wide,
             height: (wide * height) / width };
    show();
  };

  const choose = (number) => {
    chosen = number;
    picture.classList.toggle("chosen", number !== null);
    svg.querySelectorAll(".lit, .here").forEach((element) => element.classList.remove("lit", "here"));
    if (number === null) { found.textContent = ""; return; }
    // All ways that the spec follows from here, and the tables that come here by one step.
    const lit = new Set([number]), waiting = [number];
    while (waiting.length) {
      const from = waiting.pop();
      for (const edge of edges) {
        if (edge.dataset.from !== from || (edge.classList.contains("other") && from !== number)) continue;
        edge.classList.add("lit");
        if (!lit.has(edge.dataset.to)) {
          lit.add(edge.dataset.to);
          if (!edge.classList.contains("other")) waiting.push(edge.dataset.to);
        }
      }
    }
    for (const edge of edges) {
      if (edge.dataset.to === number && !edge.classList.contains("other")) {
        edge.classList.add("lit");
        lit.add(edge.dataset.from);
      }
    }
    lit.forEach((one) => nodes.get(one).classList.add("lit"));
    nodes.get(number).classList.add("here");
    found.textContent = nodes.get(number).dataset.name;
  };
  const open = (number) => {
    const details = document.getElementById(`t${number}`);
    if (details === null) return;
    details.open = true;
    details.scrollIntoView({ block: "start" });
  };

  const fingers = new Map();
  let moved = 0;
  svg.addEventListener("pointerdown", (event) => {
    fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    moved = 0;
  });
  svg.addEventListener("pointermove", (event) => {
    const last = fingers.get(event.pointerId);
    if (!last) return;
    const now = { x: event.clientX, y: event.clientY };
    moved += Math.abs(now.x - last.x) + Math.abs(now.y - last.y);
    if (moved > 6) { svg.setPointerCapture(event.pointerId); picture.classList.add("drags"); }
    if (fingers.size === 2) {
      const [other] = [...fingers].filter(([id]) => id !== event.pointerId).map(([, at]) => at);
      const before = Math.hypot(last.x - other.x, last.y - other.y), after = Math.hypot(now.x - other.x, now.y - other.y);
      if (before > 0 && after > 0) zoom(before / after, place((now.x + other.x) / 2, (now.y + other.y) / 2));
    } else if (fingers.size === 1) {
      const from = place(last.x, last.y), to = place(now.x, now.y);
      view = { ...view, x: view.x + from.x - to.x, y: view.y + from.y - to.y };
      show();
    }
    fingers.set(event.pointerId, now);
  });
  const lift = (event) => { fingers.delete(event.pointerId); picture.classList.remove("drags"); };
  svg.addEventListener("pointerup", lift);
  svg.addEventListener("pointercancel", lift);
  svg.addEventListener("click", (event) => {
    if (moved > 6) return;
    const node = event.target.closest("[data-table]");
    if (node === null) choose(null);
    else if (node.dataset.table === chosen) open(chosen);
    else choose(node.dataset.table);
  });
  svg.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    zoom(Math.exp(event.deltaY / 300), place(event.clientX, event.clientY));
  }, { passive: false });
  picture.addEventListener("keydown", (event) => {
    const step = view.width / 10;
    const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
    if (event.key in moves) {
      view = { ...view, x: view.x + moves[event.key][0], y: view.y + moves[event.key][1] };
      show();
    } else if (event.key === "+" || event.key === "=") zoom(0.8);
    else if (event.key === "-") zoom(1.25);
    else if (event.key === "0") fit();
    else if (event.key === "Escape") choose(null);
    else return;
    event.preventDefault();
  });
  document.getElementById("in").addEventListener("click", () => zoom(0.7));
  document.getElementById("out").addEventListener("click", () => zoom(1 / 0.7));
  document.getElementById("fit").addEventListener("click", fit);
  document.getElementById("others").addEventListener("change", (event) => {
    picture.classList.toggle("all", event.target.checked);
  });
  document.getElementById("find").addEventListener("input", (event) => {
    const words = event.target.value.trim().toLowerCase();
    const hits = [...nodes.values()].filter((node) => {
      const hit = words !== "" && node.dataset.name.toLowerCase().includes(words);
      node.classList.toggle("hit", hit);
      return hit;
    });
    choose(hits.length === 1 ? hits[0].dataset.table : null);
    found.textContent = words === "" ? "" : hits.length === 1 ? hits[0].dataset.name : `${hits.length} tables`;
    if (hits.length) goTo(hits[0]);
  });
  const named = () => {
    const target = location.hash && document.getElementById(location.hash.slice(1));
    if (target && target.tagName === "DETAILS") target.open = true;
  };
  addEventListener("hashchange", named);
  begin();
  named();
})();
