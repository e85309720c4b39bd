// Draws what DVC wrote behind the mark `plaintext`: there it is text, whatever it holds, and of it only the specifications are read.
const draw = async () => {
  const found = document.querySelector("plaintext").textContent.matchAll(/^\s*var spec = (\{.*\});$/gm);
  for (const [, specification] of found) {
    const place = document.querySelector("main").appendChild(document.createElement("figure"));
    try {
      // `ast`: expressions are interpreted, not compiled, so that the page need not allow code made of text.
      await vegaEmbed(place, JSON.parse(specification), {
        ast: true, defaultStyle: false, tooltip: { disableDefaultStyle: true }, actions: { export: true, source: false, compiled: false, editor: false },
      });
    } catch (error) {
      place.textContent = `This plot could not be drawn: ${error.message}`;
    }
  }
};
document.addEventListener("DOMContentLoaded", draw);
