// Dark, light, or as the system has it.
import { say, the } from "./dom";

const THEMES = ["system", "light", "dark"] as const;
const KEY = "chronotick-theme";

/** Makes the button work; `changed` is called when the colours are others. */
export function start(changed: () => void): void {
  const button = the("theme");
  const stored = THEMES.findIndex((theme) => theme === localStorage.getItem(KEY));
  let chosen = Math.max(0, stored);
  const apply = () => {
    const theme = THEMES[chosen]!;
    if (theme === "system") delete document.documentElement.dataset["theme"];
    else document.documentElement.dataset["theme"] = theme;
    say(button, `Theme: ${theme}`);
    changed();
  };
  button.addEventListener("click", () => {
    chosen = (chosen + 1) % THEMES.length;
    localStorage.setItem(KEY, THEMES[chosen]!);
    apply();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", changed);
  apply();
}
