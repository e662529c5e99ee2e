// Files from the picker or a drop, folders walked through.

/** All files of a drop, those in dropped folders too. */
export async function filesOfDrop(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.length) return [...transfer.files];
  const files = [];
  for (const entry of entries) await walk(entry, files);
  return files;
}

async function walk(entry, files) {
  if (entry.isFile) {
    const file = await new Promise((done, fail) => entry.file(done, fail));
    // The folder's name is what people call the series.
    file.path = entry.fullPath.replace(/^\//, "");
    files.push(file);
    return;
  }
  const reader = entry.createReader();
  for (;;) {
    // At most a hundred at a time: asked again until there are no more.
    const batch = await new Promise((done, fail) => reader.readEntries(done, fail));
    if (!batch.length) return;
    for (const child of batch) await walk(child, files);
  }
}

/** Without the files that systems leave behind (.DS_Store, Thumbs.db). */
export const usable = (files) =>
  files.filter((file) => !file.name.startsWith(".") && file.name.toLowerCase() !== "thumbs.db");
