/** What goes wrong, with all that helps to mend it: a stable code, what, where, why and the fix. */

export class Failure extends Error {
  /**
   * @param {string} code in kebab-case; the page has words for those of its own
   * @param {object} [said] `what`, `where`, `why`, `fix` in the words of whoever failed
   */
  constructor(code, { what = null, where = null, why = null, fix = null } = {}) {
    super(what ?? code);
    Object.assign(this, { code, what, where, why, fix });
  }
}

/** Any error as a Failure. */
export function asFailure(error) {
  if (error instanceof Failure) return error;
  if (error instanceof TypeError && /fetch|network|load/i.test(error.message)) return new Failure("offline");
  return new Failure("unexpected", { why: error?.message ?? String(error) });
}

/** Whether an error only says that the person, or a newer wish, ended the work. */
export const isCancelled = (error) => error?.name === "AbortError";

/** The error of cancelled work. */
export const cancelled = () => new DOMException("cancelled", "AbortError");
