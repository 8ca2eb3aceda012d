"""The look of a report's page: dark on light, one column about 1,100 pixels wide, plain on paper."""

STYLE = """
body { font: 15px/1.5 system-ui, "Helvetica Neue", Arial, sans-serif; color: #1a1a1a; background: #fff; margin: 0 auto;
       padding: 1.5rem; max-width: 1120px; }
h1 { font-size: 1.6rem; margin: 0 0 .5rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.2rem 0 .5rem; border-bottom: 1px solid #ccc; }
h3 { font-size: 1rem; margin: 1.2rem 0 .3rem; }
p { max-width: 52rem; margin: .4rem 0; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1.2rem; margin: .6rem 0; }
dt { color: #555; } dd { margin: 0; overflow-wrap: anywhere; }
pre { background: #f4f4f4; padding: .5rem .7rem; white-space: pre; overflow-x: auto; margin: .3rem 0; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .82rem; font-variant-numeric: tabular-nums; margin: .4rem 0; }
th, td { padding: .16rem .6rem; text-align: right; vertical-align: top; }
th { font-weight: 600; } tr > th:first-child, td.unit, th.unit, .name { text-align: left; }
tr:first-child th { border-bottom: 1px solid #888; vertical-align: bottom; }
tr + tr > th:first-child { font-weight: 400; } tr.group > th:first-child { font-weight: 600; padding-top: .6rem; }
tr.group th, table.differences tr.first > * { border-top: 1px solid #ddd; }
tr > th:first-child, td.unit { white-space: nowrap; } td.unit, th.unit, small { color: #666; } small { display: block; font-size: .92em; font-weight: 400; white-space: nowrap; }
table.differences tr > * { white-space: nowrap; padding: .16rem .45rem; }
table.differences { font-size: .78rem; } table.differences .name { white-space: normal; min-width: 9rem; }
figure { margin: 1.2rem 0 1.8rem; break-inside: avoid; } img { max-width: 100%; height: auto; display: block; }
figcaption { color: #444; font-size: .86rem; max-width: 60rem; margin-top: .3rem; }
a { color: #0072B2; } summary { cursor: pointer; color: #0072B2; margin: .3rem 0; }
.definitions { grid-template-columns: minmax(8rem, 15rem) 1fr; font-size: .86rem; }
@media print {
  body { max-width: none; padding: 0; font-size: 10pt; } h2, h3 { break-after: avoid; } tr { break-inside: avoid; }
  .wide { overflow: visible; } table { font-size: 7pt; } table.differences { font-size: 6.5pt; }
  th, td, table.differences tr > * { padding: .1rem .3rem; } table.differences .name { min-width: 6rem; }
}
"""
