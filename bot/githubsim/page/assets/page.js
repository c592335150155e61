// Keeps a pull request's page up to date without a reload: it waits for a change
// at the address in data-state and then takes the new content of <main>.
"use strict";
(() => {
  const main = () => document.getElementById("main");
  const address = main().dataset.state;

  // #L5-L9 of a file marks the lines.
  const range = /^#L(\d+)(?:-L(\d+))?$/;
  const markLines = () => {
    const m = range.exec(location.hash);
    document.querySelectorAll("tr.on").forEach((row) => row.id.startsWith("L") && row.classList.remove("on"));
    if (!m) return;
    for (let n = +m[1]; n <= +(m[2] || m[1]); n++) document.getElementById("L" + n)?.classList.add("on");
    document.getElementById("L" + m[1])?.scrollIntoView({ block: "center" });
  };
  addEventListener("hashchange", markLines);
  markLines();

  const narrow = matchMedia("(max-width: 900px)");
  const fold = () => document.getElementById("tree")?.toggleAttribute("open", !narrow.matches);
  narrow.addEventListener("change", fold);
  fold();

  // A form is sent once.
  addEventListener("submit", (e) => {
    if (e.target.dataset.sent) e.preventDefault();
    e.target.dataset.sent = "1";
    e.target.querySelector("button")?.setAttribute("aria-disabled", "true");
  });
  addEventListener("pageshow", () => document.querySelectorAll("form").forEach((f) => delete f.dataset.sent));

  // The answer to a button that was refused stands at the button's address.
  if (address && location.pathname !== main().dataset.url) history.replaceState(null, "", main().dataset.url);

  const pause = (ms) => new Promise((go) => setTimeout(go, ms));
  const writing = () => [...document.querySelectorAll("textarea")].some((t) => t.value !== "");

  async function refresh() {
    const answer = await fetch(main().dataset.url || location.pathname, { cache: "no-store" });
    const next = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("main");
    if (!next) throw new Error("no content");
    const open = new Map([...document.querySelectorAll("details[id]")].map((d) => [d.id, d.open]));
    next.querySelectorAll("details[id]").forEach((d) => open.has(d.id) && (d.open = open.get(d.id)));
    const focus = document.activeElement?.id;
    const y = scrollY;
    main().replaceWith(next);
    scrollTo(0, y);
    if (focus) document.getElementById(focus)?.focus({ preventScroll: true });
  }

  (async () => {
    while ("busy" in main().dataset) { // the list, until every review is there
      await pause(500);
      await refresh().catch(() => pause(2000));
    }
    while (address) {
      try {
        const answer = await fetch(address + "?since=" + main().dataset.version, { cache: "no-store" });
        if (!answer.ok) throw new Error(answer.statusText);
        const now = await answer.json();
        if (now.version !== main().dataset.version) {
          if (writing()) {
            await pause(1000); // what is being written is not thrown away
            continue;
          }
          await refresh();
          document.getElementById("live").textContent = now.text;
        }
      } catch {
        await pause(2000);
      }
    }
  })();
})();
