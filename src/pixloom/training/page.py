"""The page of ``report.html``: its template, style and script. It loads nothing: no address is fetched from it."""

from __future__ import annotations

import base64
import hashlib
from html import escape
from string import Template

REFRESH_SECONDS = 20

_STYLE = """
:root{color-scheme:light dark;--paper:#fff;--card:#f6f7f9;--ink:#1b1f24;--soft:#59636e;--rule:#d5dae0;--accent:#0b5cad;
--c0:#0b62b8;--c1:#b3470a;--c2:#00735a;--c3:#8f3a84;--c4:#6b5a00;--c5:#a3122b}
@media(prefers-color-scheme:dark){:root{--paper:#14171b;--card:#1e2228;--ink:#e6e9ed;--soft:#a0a9b4;--rule:#39404a;--accent:#79b8ff;
--c0:#6cb2ff;--c1:#ff9b57;--c2:#3fd0a8;--c3:#e394d8;--c4:#e0cb4d;--c5:#ff8a96}}
*{box-sizing:border-box}
body{margin:0 auto;padding:1.5rem;max-width:76rem;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,-apple-system,"Segoe UI",
Roboto,"Noto Sans","PingFang SC","Microsoft YaHei",sans-serif}
h1{font-size:1.7rem;margin:0;overflow-wrap:anywhere}
h2{font-size:1.2rem;margin:2.2rem 0 .7rem;padding-bottom:.25rem;border-bottom:1px solid var(--rule)}
p{margin:.4rem 0;max-width:48rem}.soft,small{color:var(--soft)}a{color:var(--accent)}
.state{display:inline-block;padding:.05rem .7rem;border:1px solid currentColor;border-radius:1rem;
font-size:.85rem;font-weight:600;color:var(--accent)}
progress{width:100%;height:.6rem;accent-color:var(--accent);margin:.6rem 0 .2rem}
.metrics{display:flex;flex-wrap:wrap;gap:.8rem;margin:1rem 0 .5rem;padding:0;list-style:none}
.metrics li{background:var(--card);border-radius:.5rem;padding:.6rem 1rem;min-width:9rem}
.metrics b{display:block;font-size:1.6rem;line-height:1.3}
.metrics small{display:block;line-height:1.4}.metrics b small{font-size:.95rem;font-weight:400}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(26rem,100%),1fr));gap:1rem}
figure{margin:0}.chart{background:var(--card);border-radius:.5rem;padding:.7rem .7rem .3rem}figcaption{font-weight:600}
.chart>svg{width:100%;height:auto;display:block;margin-top:.3rem}.chart text{font:12px system-ui,sans-serif;fill:var(--soft)}
.end{text-anchor:end}.mid{text-anchor:middle}.rule{stroke:var(--rule);stroke-width:1}
.legend{display:flex;flex-wrap:wrap;gap:.1rem 1rem;margin:.15rem 0 0;padding:0;list-style:none;font-weight:400;font-size:.85rem}
.legend svg{width:24px;height:8px;margin-right:.35rem}
.line{fill:none;stroke-width:2;stroke-linejoin:round}.raw{fill:none;stroke-width:1;opacity:.25}
.s0{stroke:var(--c0)}.s1{stroke:var(--c1);stroke-dasharray:7 3}.s2{stroke:var(--c2);stroke-dasharray:2 3}
.s3{stroke:var(--c3);stroke-dasharray:10 3 2 3}.s4{stroke:var(--c4);stroke-dasharray:4 4}.s5{stroke:var(--c5);stroke-dasharray:12 4}
.raw,.dot{stroke-dasharray:none}.dot{fill:var(--card);stroke-width:2}
.timeline{display:flex;align-items:center;gap:1rem;margin:.3rem 0 .8rem}.timeline input{flex:1;accent-color:var(--accent)}
.timeline output{min-width:13rem;font-variant-numeric:tabular-nums}
.grid{max-width:100%;max-height:80vh;border-radius:.4rem;display:block}.grid[hidden]{display:none}
.wide{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums}
th,td{text-align:left;vertical-align:top;padding:.25rem .9rem .25rem 0;border-bottom:1px solid var(--rule);overflow-wrap:anywhere}
th{font-weight:600}td th,td td{border-bottom:0;padding-top:0;padding-bottom:0}tbody th{font-weight:500;color:var(--soft);white-space:nowrap}
td ul{margin:0;padding-left:1.1rem}
pre{background:var(--card);border-radius:.5rem;padding:.8rem 1rem;overflow-x:auto;font:13.5px/1.5 ui-monospace,Consolas,Menlo,monospace}
summary{cursor:pointer;padding:.2rem 0}:focus-visible{outline:3px solid var(--accent);outline-offset:2px}
@media print{pre{white-space:pre-wrap}.timeline input{display:none}}
"""

# The slider shows one grid at a time; what the reader chose and opened survives the refresh.
_SCRIPT = """
const name=key=>location.pathname+"#"+key;
const keep=(key,value)=>{try{sessionStorage.setItem(name(key),value)}catch{}};
const kept=key=>{try{return sessionStorage.getItem(name(key))}catch{return null}};
const slider=document.getElementById("when");
if(slider){
  const grids=[...document.querySelectorAll(".grid")],label=document.getElementById("when-label");
  const show=()=>{
    grids.forEach((grid,index)=>{grid.hidden=index!==Number(slider.value)});
    label.textContent=grids[slider.value].dataset.when;
    slider.setAttribute("aria-valuetext",label.textContent);
  };
  slider.value=kept("when")||slider.max;
  slider.addEventListener("input",()=>{show();keep("when",slider.value===slider.max?"":slider.value)});
  show();
}
document.querySelectorAll("details").forEach((part,index)=>{
  part.open=part.open||kept("open"+index)==="yes";
  part.addEventListener("toggle",()=>keep("open"+index,part.open?"yes":""));
});
"""

_PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="$policy">
$refresh<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>$title</title>
<style>$style</style>
</head>
<body>
<main>
$body
</main>
<script>$script</script>
</body>
</html>
""")


def page(title: str, body: str, *, refresh: bool) -> str:
    """The whole page around a body of HTML; ``refresh`` makes the browser read it anew every 20 seconds."""
    return _PAGE.substitute(
        policy=_policy(_SCRIPT),
        refresh=f'<meta http-equiv="refresh" content="{REFRESH_SECONDS}">\n' if refresh else "",
        title=escape(title),
        style=_STYLE,
        body=body,
        script=_SCRIPT,
    )


def _policy(script: str) -> str:
    """Nothing may be fetched, and this script alone may run: not even one that slipped in through a file name."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
    )
