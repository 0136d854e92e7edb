"""How a report looks: one style sheet, light and dark by the reader's own setting."""

STYLE = """
:root { color-scheme: light dark;
  --paper: #f7f7f5; --card: #ffffff; --ink: #1d2126; --quiet: #626a73; --line: #e1e3e4;
  --accent: #0f6b5c; --good: #1b7f4b; --bad: #b3382c; --warn: #94660b; --code: #f0f1ef; }
@media (prefers-color-scheme: dark) { :root {
  --paper: #14171a; --card: #1c2024; --ink: #e7e9ea; --quiet: #9aa3ab; --line: #30363c;
  --accent: #5cc8b2; --good: #63cf95; --bad: #f0857a; --warn: #e2b65a; --code: #23282d; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", "Noto Sans", Roboto, sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 48px 24px 72px; }
h1 { font-size: 34px; line-height: 1.15; letter-spacing: -0.02em; margin: 0 0 12px; }
h2 { font-size: 21px; letter-spacing: -0.01em; margin: 52px 0 12px; }
h3 { font-size: 15px; font-weight: 600; margin: 22px 0 10px; }
p { margin: 0 0 14px; max-width: 76ch; }
.lead { font-size: 18px; color: var(--quiet); margin-bottom: 28px; }
.note { color: var(--quiet); font-size: 14px; }
.numbers { display: grid; gap: 12px; margin: 24px 0;
  grid-template-columns: repeat(auto-fit, minmax(168px, 1fr)); }
.number { background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  padding: 16px 18px; }
.number b { display: block; font-size: 28px; line-height: 1.2; font-weight: 600;
  letter-spacing: -0.02em; font-variant-numeric: tabular-nums; color: var(--accent); }
.number span { display: block; font-size: 14px; }
.number small { color: var(--quiet); font-size: 13px; }
.scroll { overflow-x: auto; background: var(--card); border: 1px solid var(--line);
  border-radius: 10px; margin: 0 0 12px; }
table { border-collapse: collapse; width: 100%; font-size: 15px;
  font-variant-numeric: tabular-nums; }
th, td { padding: 9px 16px; text-align: right; white-space: nowrap;
  border-top: 1px solid var(--line); }
th { font-weight: 500; color: var(--quiet); font-size: 13px; border-top: 0; }
th:first-child, td:first-child { text-align: left; }
tr.strong td { font-weight: 600; }
.pictures { display: grid; gap: 18px; }
figure { margin: 0 0 12px; background: var(--card); border: 1px solid var(--line);
  border-radius: 10px; overflow: hidden; }
figure img { display: block; width: 100%; height: auto; }
figure svg { display: block; width: 100%; height: auto; padding: 12px 12px 0; }
figcaption { padding: 9px 16px 11px; font-size: 14px; color: var(--quiet); }
.good { color: var(--good); } .bad { color: var(--bad); } .warn { color: var(--warn); }
pre { background: var(--code); border: 1px solid var(--line); border-radius: 10px; margin: 0 0 12px;
  padding: 14px 16px; overflow-x: auto; font: 13px/1.6 ui-monospace, Menlo, Consolas, monospace; }
.charts { display: grid; gap: 12px; grid-template-columns: repeat(auto-fit, minmax(420px, 1fr)); }
svg text { font: 12px system-ui, sans-serif; fill: var(--quiet); }
svg .axis { stroke: var(--line); stroke-width: 1; fill: none; }
.colour0 { color: var(--accent); } .colour1 { color: #d0812f; } .colour2 { color: #7b78c9; }
.colour3 { color: var(--quiet); } .colour4 { color: #b34f7a; } .colour5 { color: #4f8fd0; }
svg .base { stroke: var(--quiet); stroke-width: 1; fill: none; }
svg .spread { stroke: var(--ink); stroke-width: 1; fill: none; }
h4 { font-size: 13px; font-weight: 600; color: var(--quiet); margin: 4px 0 8px; }
.tiles { display: grid; gap: 10px; margin: 0 0 2px;
  grid-template-columns: repeat(auto-fill, minmax(160px, 1fr)); }
.tiles figure { border-width: 3px; }
.tiles figcaption { padding: 6px 9px 8px; font-size: 12.5px; line-height: 1.4; }
.tiles .good { border-color: var(--good); } .tiles .bad { border-color: var(--bad); }
.tiles .good b { color: var(--good); } .tiles .bad b { color: var(--bad); }
.scale { display: flex; gap: 8px; align-items: center; padding: 7px 9px 0; font-size: 12.5px;
  font-variant-numeric: tabular-nums; }
.scale i { flex: 1; height: 9px; border-radius: 2px; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 16px; margin: 0 0 14px; font-size: 14px; }
.legend i { display: inline-block; width: 12px; height: 12px; border-radius: 3px;
  border: 1px solid var(--line); margin-right: 6px; }
@media print { body { background: #fff; } figure, .number, .scroll { break-inside: avoid; } }
"""
