// Sentences of the library, as a page says them. They are written for a terminal and name its flags; a page has
// controls instead, and shows the rest apart, as what it is.
const ON_THE_PAGE = [
  [/--model chooses another$/, "another can be chosen under “Network” on the page Train"],
  [/^--model (\S+) --weights (\S+) does better/, "$1, which starts from the weights “$2” and can be chosen on the page Train, does better"],
  [/, or stops with --strict$/, ""],
  [/^'casebook train --resume [^']+' (continues it|goes on with it)/, "“Resume” goes on with it"],
  [/^(add|leave out) --weights$/, "$1 the weights under “Starts from” on the page Train"],
];
const FOR_A_TERMINAL = /(^|[\s('‘])--[a-z]|'casebook /;

// {words, terminal}: what reads well on a page, and what is for a terminal; "" where there is nothing of it.
export function spoken(text) {
  const clauses = text.split(/(?<=[;:.]) /).map((clause) => {
    const [, body, end] = clause.match(/^(.*?)([;:.]?)$/s);
    return ON_THE_PAGE.reduce((said, [flags, words]) => said.replace(flags, words), body) + end;
  });
  const [words, terminal] = [false, true].map((wanted) => clauses.filter((clause) => FOR_A_TERMINAL.test(clause) === wanted).join(" "));
  if (!words || !terminal) return { words: words || terminal, terminal: "" };
  return { words: words.replace(/[;:.]$/, ""), terminal: terminal.replace(/[;:.]$/, "") };
}
