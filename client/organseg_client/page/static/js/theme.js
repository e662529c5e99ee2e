// Light or dark: the system's choice unless the user made one. Loaded before anything is painted.
(() => {
  const kept = localStorage.getItem("organseg-theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const apply = (theme) => document.documentElement.setAttribute("data-theme", theme);
  apply(kept || (system.matches ? "dark" : "light"));
  system.addEventListener("change", () => {
    if (!localStorage.getItem("organseg-theme")) apply(system.matches ? "dark" : "light");
  });
  window.organsegTurnTheme = () => {
    const next = document.documentElement.getAttribute("data-theme") === "dark" ? "light" : "dark";
    localStorage.setItem("organseg-theme", next);
    apply(next);
    return next;
  };
})();
