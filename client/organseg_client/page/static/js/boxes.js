// Boxes with the organs' names over the axial slice, as SVG that follows zoom and pan.

const SVG = "http://www.w3.org/2000/svg";

function element(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

/** Draws the boxes of `organs` ({name, box_xyxy, colour_rgb}) by `place(x, y)`, which may be null. */
export function drawBoxes(svg, organs, place) {
  svg.replaceChildren();
  if (!place) return;
  const taken = [];
  for (const organ of organs) {
    const [x0, y0, x1, y1] = organ.box_xyxy;
    if (x1 <= x0 || y1 <= y0) continue;
    const [left, top] = place(x0, y0);
    const [right, bottom] = place(x1, y1);
    const colour = `rgb(${organ.colour_rgb.join(" ")})`;
    const shape = { x: left, y: top, width: right - left, height: bottom - top, rx: 3 };
    svg.append(
      element("rect", { ...shape, fill: "none", stroke: "#000", "stroke-opacity": 0.55, "stroke-width": 3.5 }),
      element("rect", { ...shape, fill: "none", stroke: colour, "stroke-width": 1.6, class: "box" }),
    );
    svg.append(label(svg, organ.name, colour, left, top, bottom, taken));
  }
}

function label(svg, name, colour, left, top, bottom, taken) {
  const group = element("g", { class: "box-name" });
  const width = name.length * 7.1 + 12;
  const height = 19;
  const limit = svg.clientWidth || 1e4;
  const x = Math.min(Math.max(left, 2), limit - width - 2);
  let y = top - height - 3 > 0 ? top - height - 3 : Math.min(bottom + 3, (svg.clientHeight || 1e4) - height);
  // Two names at the same place: the later one moves down.
  while (taken.some((other) => Math.abs(other.y - y) < height && x < other.x + other.width && other.x < x + width)) {
    y += height + 1;
  }
  taken.push({ x, y, width });
  const text = element("text", { x: x + 6, y: y + 13.5, fill: "#fff", "font-size": 12.5, "font-weight": 600 });
  text.textContent = name;
  group.append(
    element("rect", { x, y, width, height, rx: 4, fill: "#0b0f13", "fill-opacity": 0.82 }),
    element("rect", { x, y, width: 3.5, height, rx: 1.5, fill: colour }),
    text,
  );
  return group;
}

/** The box around each organ on one slice of a volume's labels, bytes [Z, H, W], in image pixels. */
export function boxesOnSlice(labels, size, slice, step, organs) {
  const { width, height } = size;
  const found = new Map();
  const start = slice * width * height;
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      const id = labels[start + y * width + x];
      if (!id) continue;
      const box = found.get(id);
      if (!box) found.set(id, [x, y, x + 1, y + 1]);
      else {
        if (x < box[0]) box[0] = x;
        if (x >= box[2]) box[2] = x + 1;
        box[3] = y + 1;
      }
    }
  }
  return organs
    .filter((organ) => found.has(organ.id))
    .map((organ) => ({ ...organ, box_xyxy: found.get(organ.id).map((edge) => edge * step) }));
}
