"use strict";
(() => {
  const tip = document.getElementById("tip");

  function showTip(text, event) {
    tip.textContent = text;
    tip.hidden = false;
    const box = tip.getBoundingClientRect();
    const room = document.documentElement.clientWidth;
    let x = event.clientX + 14;
    if (x + box.width > room) x = Math.max(0, event.clientX - 14 - box.width);
    tip.style.left = x + "px";
    tip.style.top = Math.max(0, event.clientY - box.height - 10) + "px";
  }

  function nearest(points, x) {
    let best = 0;
    for (let i = 1; i < points.length; i++) {
      if (Math.abs(points[i][0] - x) < Math.abs(points[best][0] - x)) best = i;
    }
    return points[best];
  }

  for (const svg of document.querySelectorAll("svg[data-curves]")) {
    const curves = JSON.parse(svg.dataset.curves);
    const cursor = svg.querySelector(".cursor");
    const line = cursor.querySelector("line");
    svg.addEventListener("pointermove", (event) => {
      const box = svg.getBoundingClientRect();
      const x = ((event.clientX - box.left) / box.width) * svg.viewBox.baseVal.width;
      const all = curves.map((curve) => nearest(curve.points, x));
      const at = nearest(all, x);
      line.setAttribute("x1", at[0]);
      line.setAttribute("x2", at[0]);
      cursor.setAttribute("visibility", "visible");
      const lines = [at[2] + " " + svg.dataset.x];
      curves.forEach((curve, i) => {
        const where = all[i][2] === at[2] ? "" : " (" + all[i][2] + ")";
        lines.push((curve.label ? curve.label + ": " : "") + all[i][3] + where);
      });
      showTip(lines.join("\n"), event);
    });
    svg.addEventListener("pointerleave", () => {
      cursor.setAttribute("visibility", "hidden");
      tip.hidden = true;
    });
  }

  for (const image of document.querySelectorAll(".image")) {
    image.style.gridTemplateColumns = "repeat(" + Number(image.dataset.columns) + ", auto)";
  }

  let shown = null;

  function hide() {
    if (!shown) return;
    shown.classList.remove("on");
    for (const token of shown.closest(".sample").querySelectorAll(".sources .t")) {
      token.style.removeProperty("--w");
      token.classList.remove("dark");
      delete token.dataset.p;
    }
    shown = null;
  }

  function show(output) {
    if (output === shown) return;
    hide();
    shown = output;
    output.classList.add("on");
    const sources = output.closest(".sample").querySelectorAll(".sources .t");
    for (const pair of output.dataset.w.split(" ")) {
      if (!pair) continue;
      const [place, weight] = pair.split(":").map(Number);
      const token = sources[place];
      if (!token) continue;
      token.style.setProperty("--w", weight / 1000);
      token.classList.toggle("dark", weight > 550);
      if (weight >= 10) token.dataset.p = Math.round(weight / 10);
    }
  }

  const outputOf = (event) =>
    event.target instanceof Element ? event.target.closest(".outputs .t") : null;
  for (const kind of ["pointerover", "focusin", "click"]) {
    document.addEventListener(kind, (event) => {
      const output = outputOf(event);
      if (output) show(output);
      else if (kind !== "focusin") hide();
    });
  }

  addEventListener("beforeprint", () => {
    for (const one of document.querySelectorAll("details")) one.open = true;
  });
})();
