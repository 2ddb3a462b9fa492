/** Run one scenario: node drive.mjs SCENARIO URL FOLDER. Prints what it returns, or what went wrong. */

import * as scenarios from "./scenarios.mjs";

const [name, url, shots] = process.argv.slice(2);
try {
  const found = JSON.stringify(await scenarios[name]({ url, shots }));
  process.stdout.write(found, () => process.exit(0)); // a pipe takes it in pieces
} catch (error) {
  console.error(error.stack);
  process.exit(1);
}
