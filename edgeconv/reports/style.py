"""The one style of every page."""

from edgeconv.reports import svg

STYLE = """
:root{color-scheme:light dark;--back:#fff;--text:#1c2024;--dim:#5c6670;--rule:#d9dee3;--panel:#f5f7f9;
--warn:#8a5a00;--bad:#b3261e;--c0:#0b62c4;--c1:#c2410c;--c2:#15803d;--c3:#7e22ce;--c4:#a16207;--c5:#0e7490}
@media(prefers-color-scheme:dark){:root{--back:#15181b;--text:#e6e9ec;--dim:#9aa5af;--rule:#343b42;
--panel:#1e2327;--warn:#f0b54a;--bad:#ff8a80;--c0:#6cb2ff;--c1:#ff9d66;--c2:#5fd38a;--c3:#c9a0ff;--c4:#e5c04b;--c5:#5fd0e0}}
*{box-sizing:border-box}body{margin:0 auto;max-width:1180px;padding:16px;background:var(--back);
color:var(--text);font:15px/1.5 system-ui,sans-serif;
overflow-wrap:anywhere}h1{font-size:1.4rem;margin:.2em 0}
h2{font-size:1.1rem;margin:1.6em 0 .4em}h3{font-size:1rem;margin:1.2em 0 .3em}p{margin:.4em 0}.dim{color:var(--dim)}.warn{color:var(--warn)}
.bad{color:var(--bad)}.scroll{overflow-x:auto;max-width:100%}td.left{text-align:left}table{border-collapse:collapse;width:100%;
font-variant-numeric:tabular-nums}th,td{padding:4px 10px 4px 0;text-align:right;white-space:nowrap;
border-bottom:1px solid var(--rule)}th:first-child,td:first-child,.left{text-align:left}
td:first-child{white-space:normal;overflow-wrap:anywhere;min-width:11em}th{color:var(--dim);font-weight:600}
svg{width:100%;height:auto;display:block;background:var(--panel);border-radius:6px;margin:.5em 0}
svg text{fill:var(--dim);font-size:11px}svg .title{fill:var(--text)}.grid{stroke:var(--rule)}.tick{stroke:var(--dim)}
.line{fill:none;stroke-width:1.5}.roof{fill:none;stroke:var(--dim);stroke-width:1.5;stroke-dasharray:5 4}
.legend{list-style:none;padding:0;margin:.3em 0;display:flex;flex-wrap:wrap;gap:4px 16px}
.legend li{overflow-wrap:anywhere}
.swatch{display:inline-block;width:12px;height:12px;border-radius:3px;margin-right:6px;vertical-align:-1px}
.bar{height:10px;border-radius:3px;min-width:1px}ul.causes{margin:.2em 0 .8em;padding-left:1.2em}
dl{display:grid;grid-template-columns:max-content 1fr;gap:2px 14px}dt{color:var(--dim)}
dd{margin:0}
@media(min-width:900px){td:first-child{min-width:15em}}
@media(max-width:600px){svg text{font-size:19px}svg .title{font-size:20px}body{padding:12px}}
""" + "".join(
    f".line.c{n}{{stroke:var(--c{n})}}.dot.c{n}{{fill:var(--c{n})}}"
    f".swatch.c{n},.bar.c{n}{{background:var(--c{n})}}"
    for n in range(svg.COLOURS)
)
