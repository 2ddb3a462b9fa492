/** Run one scenario: node drive.mjs SCENARIO URL FOLDER [WISHES.json]. Prints what it returns, or what went wrong. */

import { readFileSync } from "node:fs";

import * as scenarios from "./scenarios.mjs";

const [name, url, shots] = process.argv.slice(2, 5);
try {
  const found = JSON.stringify(await scenarios[name]({ url, shots, wishes: process.argv[5] && JSON.parse(readFileSync(process.argv[5], "utf8")) }));
  process.stdout.write(found, () => process.exit(0)); // a pipe takes it in pieces
} catch (error) {
  console.error(error.stack);
  process.exit(1);
}
