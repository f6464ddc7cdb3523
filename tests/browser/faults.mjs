// What would stop some people from using the page as it is now; run within it. Returns a sentence for each.
export function faults() {
  const found = [],
    shown = (element) => element.checkVisibility({ visibilityProperty: true }) && element.getClientRects().length > 0;
  const called = (element) =>
    `<${element.tagName.toLowerCase()} class="${element.getAttribute("class") || ""}">${element.textContent.trim().slice(0, 30)}`;
  const all = (selector) => [...document.querySelectorAll(selector)].filter(shown);
  const name = (element) => {
    const by = (element.getAttribute("aria-labelledby") || "")
      .split(" ")
      .map((id) => document.getElementById(id)?.textContent || "")
      .join(" ");
    const labels = [...(element.labels || [])].map((label) => label.textContent).join(" ");
    return (
      element.getAttribute("aria-label") ||
      by.trim() ||
      labels ||
      element.textContent ||
      element.getAttribute("alt") ||
      element.title ||
      ""
    ).trim();
  };
  for (const each of all(
    "button, a[href], input, select, textarea, summary, progress, iframe, dialog, [role=img], [role=application], [tabindex='0']",
  ))
    if (!name(each)) found.push(`has no name: ${called(each)}`);
  for (const each of all("img, model-viewer"))
    if (each.getAttribute("alt") === null) found.push(`has no alternative text: ${called(each)}`);
  for (const each of all(
    "button, .button, select, input:not(.unseen), summary, .choice, .item, .files a, .back, .brand, .look",
  )) {
    const { width, height } = (each.closest("label.choice") || each).getBoundingClientRect();
    if (each.type !== "range" && (width < 43.5 || height < 43.5))
      found.push(`is small, ${Math.round(width)} x ${Math.round(height)}: ${called(each)}`);
  }
  const ids = [...document.querySelectorAll("[id]")].map(({ id }) => id),
    twice = ids.filter((id, index) => ids.indexOf(id) !== index);
  if (twice.length) found.push(`an id is there twice: ${twice}`);
  for (const each of document.querySelectorAll("[aria-labelledby], [aria-describedby], label[for]"))
    for (const id of [each.getAttribute("aria-labelledby"), each.getAttribute("aria-describedby"), each.htmlFor]
      .filter(Boolean)
      .flatMap((value) => value.split(" ")))
      if (!document.getElementById(id)) found.push(`names ${id}, which is not there: ${called(each)}`);
  const headings = all("h1, h2, h3, h4")
    .filter((each) => !document.querySelector("dialog[open]") || each.closest("dialog"))
    .map(({ tagName }) => Number(tagName[1]));
  headings.forEach((level, index) => {
    if (index && level > headings[index - 1] + 1)
      found.push(`a heading of level ${level} follows one of ${headings[index - 1]}`);
  });
  if (!document.querySelector("dialog[open]") && all("h1").length !== 1)
    found.push(`${all("h1").length} headings of the first level`);
  for (const role of ["main", "header"])
    if (document.querySelectorAll(role).length !== 1) found.push(`no ${role}, or more than one`);
  if (document.documentElement.scrollWidth > innerWidth)
    found.push(`is wider than the window: ${document.documentElement.scrollWidth} in ${innerWidth}`);
  if (!document.documentElement.lang || !document.title) found.push("has no language or title");
  return found;
}
