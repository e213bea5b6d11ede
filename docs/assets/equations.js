// Sets the equations that pymdownx.arithmatex marked, with the KaTeX that lies beside this file: nothing is fetched.
for (const equation of document.querySelectorAll(".arithmatex")) {
  const source = equation.textContent.trim();
  katex.render(source.slice(2, -2), equation, { displayMode: source.startsWith("\\[") });
}
