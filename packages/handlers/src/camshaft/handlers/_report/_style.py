"""How the page of a run looks."""

STYLE = """
:root { color-scheme: light dark; --ink: #20262b; --paper: #fff; --faint: #8a949c55; --bad: #c0392b; }
@media (prefers-color-scheme: dark) { :root { --ink: #dfe4e8; --paper: #15191c; --bad: #ff8a7a; } }
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 1000px;
  margin: 0 auto; padding: 1rem; }
h1 { margin: 0.5rem 0 0; font-size: 1.7rem; overflow-wrap: anywhere; }
h2 { margin: 2rem 0 0.5rem; font-size: 1.1rem; overflow-wrap: anywhere; }
.summary { margin: 0.25rem 0 0; opacity: 0.8; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 420px), 1fr)); gap: 1rem; }
figure { margin: 0; padding: 0.75rem; border: 1px solid var(--faint); border-radius: 6px; min-width: 0; }
figcaption { font-weight: 600; }
svg { width: 100%; height: auto; display: block; }
svg text { font-size: 12px; fill: currentColor; opacity: 0.75; }
svg .grid { stroke: var(--faint); stroke-width: 1; }
polyline { fill: none; stroke: currentColor; stroke-width: 2; }
circle { fill: currentColor; }
.legend { margin: 0.25rem 0 0; font-size: 13px; display: flex; flex-wrap: wrap; gap: 0 1rem; }
.c0 { color: #1f8a70; } .c1 { color: #d1772b; } .c2 { color: #4477c4; }
.c3 { color: #b04a8b; } .c4 { color: #8a7a1f; } .c5 { color: #5b6f7d; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 14px; font-variant-numeric: tabular-nums; }
th, td { text-align: left; vertical-align: top; padding: 0.25rem 1rem 0.25rem 0;
  border-bottom: 1px solid var(--faint); }
th, td { white-space: nowrap; }
th { font-weight: 600; }
.bad td { color: var(--bad); font-weight: 600; }
"""
