/** A ZIP writer that only stores: pictures are compressed already. Names are UTF-8. After PKWARE's APPNOTE, sections 4.3.7, 4.3.12, 4.3.16. */

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value;
});

/**
 * CRC-32 of bytes.
 * @param {Uint8Array} bytes of a file
 */
export function crc32(bytes) {
  let value = 0xffffffff;
  for (const byte of bytes) value = TABLE[(value ^ byte) & 255] ^ (value >>> 8);
  return (value ^ 0xffffffff) >>> 0;
}

/**
 * Names of which none occurs twice: `a.png`, `a (2).png`.
 * @param {string[]} names with or without suffixes
 */
export function apart(names) {
  const taken = new Set();
  return names.map((name) => {
    const dot = name.lastIndexOf(".");
    const [stem, suffix] = dot > 0 ? [name.slice(0, dot), name.slice(dot)] : [name, ""];
    let free = name;
    for (let number = 2; taken.has(free.toLowerCase()); number++) free = `${stem} (${number})${suffix}`;
    taken.add(free.toLowerCase());
    return free;
  });
}

/**
 * A ZIP file.
 * @param {{name: string, blob: Blob}[]} files what it holds; less than 4 GB in all
 * @returns {Promise<Blob>}
 */
export async function zip(files) {
  const names = apart(files.map((file) => file.name.replace(/[/\\]/g, "-")));
  const parts = [];
  const directory = [];
  let offset = 0;
  for (const [place, file] of files.entries()) {
    const bytes = new Uint8Array(await file.blob.arrayBuffer());
    const name = new TextEncoder().encode(names[place]);
    const common = fields([20, 2], [0x0800, 2], [0, 2], ...stamp(new Date()), [crc32(bytes), 4], [bytes.length, 4], [bytes.length, 4], [name.length, 2], [0, 2]);
    directory.push(fields([0x02014b50, 4], [20, 2]), common, fields([0, 2], [0, 2], [0, 2], [0, 4], [offset, 4]), name);
    parts.push(fields([0x04034b50, 4]), common, name, bytes);
    offset += 4 + common.length + name.length + bytes.length;
  }
  const size = directory.reduce((sum, part) => sum + part.length, 0);
  const end = fields([0x06054b50, 4], [0, 2], [0, 2], [files.length, 2], [files.length, 2], [size, 4], [offset, 4], [0, 2]);
  return new Blob([...parts, ...directory, end], { type: "application/zip" });
}

/** Little-endian numbers of given widths. */
function fields(...pairs) {
  const bytes = new Uint8Array(pairs.reduce((sum, [, width]) => sum + width, 0));
  let at = 0;
  for (const [value, width] of pairs) {
    for (let byte = 0; byte < width; byte++) bytes[at++] = Math.floor(value / 256 ** byte) & 255;
  }
  return bytes;
}

/** Time and date as MS-DOS has them. */
function stamp(now) {
  const time = (now.getHours() << 11) | (now.getMinutes() << 5) | (now.getSeconds() >> 1);
  const date = ((now.getFullYear() - 1980) << 9) | ((now.getMonth() + 1) << 5) | now.getDate();
  return [[time, 2], [date, 2]];
}
