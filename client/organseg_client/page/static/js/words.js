// How the page puts verdicts and numbers into words.

export const VERDICTS = {
  segmented: { word: "Found", mark: "✓" },
  absent_in_image: { word: "Not in this image", mark: "∅" },
  out_of_scope: { word: "Out of scope", mark: "–" },
};

export const percent = (part) => `${Math.round(part * 100)} %`;
export const count = (number, one, many = `${one}s`) => `${number.toLocaleString("en")} ${number === 1 ? one : many}`;

/** What the answer is about: "slice 12" (counted from 1 at the feet), "whole volume", "image". */
export function about(answer, scan) {
  if (answer.scope === "volume") return "whole volume";
  return scan.slices > 1 ? `slice ${answer.slice_index + 1}` : "image";
}

export function time(seconds) {
  return seconds < 1 ? `${Math.round(seconds * 1000)} ms` : `${seconds.toFixed(1)} s`;
}

/** The facts of a scan beside its name. */
export function scanFacts(scan) {
  const [height, width] = scan.size_hw;
  const parts = [];
  if (scan.modality !== "unknown") parts.push(scan.modality);
  parts.push(scan.slices > 1 ? `${width} × ${height} × ${scan.slices}` : `${width} × ${height}`);
  if (scan.slices > 1) {
    const [between, rows, columns] = scan.spacing_zyx_mm;
    parts.push(`${columns.toFixed(1)} × ${rows.toFixed(1)} × ${between.toFixed(1)} mm`);
  }
  return parts.join(" · ");
}
