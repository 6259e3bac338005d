/**
 * How the inspector looks. A constructed style sheet: a page whose policy forbids inline styles shows it all the same.
 */

const CSS = `
:host {
  --_surface: var(--inspector-surface, light-dark(#ffffff, #151b1e));
  --_raised: var(--inspector-raised, light-dark(#f3f5f6, #1f272b));
  --_ink: var(--inspector-ink, light-dark(#182024, #e7edef));
  --_soft: var(--inspector-soft, light-dark(#55626a, #a4b1b7));
  --_line: var(--inspector-line, light-dark(#d6dde0, #323d42));
  --_edge: var(--inspector-edge, light-dark(#7b8890, #76848b));
  --_accent: var(--inspector-accent, light-dark(#0b6e66, #5edccb));
  --_second: var(--inspector-second, light-dark(#9a4a06, #f5b471));
  --_bad: var(--inspector-bad, light-dark(#a3123f, #ff9db2));
  --_radius: var(--inspector-radius, 0.625rem);
  --_font: var(--inspector-font, system-ui, sans-serif);
  --_mono: var(--inspector-mono, ui-monospace, "SFMono-Regular", Menlo, Consolas, monospace);
  display: block;
  container-type: inline-size;
  min-inline-size: 0;
  color: var(--_ink);
  font: 0.9375rem/1.45 var(--_font);
}

:host([hidden]) {
  display: none;
}

*,
*::before,
*::after {
  box-sizing: border-box;
}

[hidden] {
  display: none !important;
}

h2,
h3,
h4,
p,
dl,
dd,
figure,
pre,
fieldset {
  margin: 0;
  padding: 0;
  border: 0;
}

h2 {
  font-size: 1.125rem;
  overflow-wrap: anywhere;
}

h3 {
  font-size: 1rem;
}

h4 {
  font-size: 0.875rem;
}

.inspector {
  display: grid;
  grid-template-columns: minmax(0, 1fr);
  gap: 0.875rem;
  padding: 0.875rem;
  border: 1px solid var(--_line);
  border-radius: var(--_radius);
  background: var(--_surface);
}

.body,
.detail {
  display: grid;
  grid-template-columns: minmax(0, 1fr);
  gap: 0.875rem;
}

.bar,
.buttons,
.turns {
  display: flex;
  flex-wrap: wrap;
  align-items: center;
  gap: 0.5rem;
}

.bar > .buttons,
.detail > .bar > button {
  margin-inline-start: auto;
}

.state {
  padding: 0.0625rem 0.5rem;
  border: 1px solid var(--_line);
  border-radius: 1rem;
  color: var(--_soft);
  font-size: 0.8125rem;
}

button {
  min-block-size: 2rem;
  padding: 0.25rem 0.75rem;
  border: 1px solid var(--_edge);
  border-radius: calc(var(--_radius) * 0.6);
  background: var(--_surface);
  color: inherit;
  font: inherit;
  font-size: 0.875rem;
  cursor: pointer;
}

button:hover:not(:disabled) {
  background: var(--_raised);
}

button:disabled {
  border-color: var(--_line);
  color: var(--_soft);
  opacity: 0.7;
  cursor: default;
}

button[aria-pressed="true"] {
  border-color: var(--_accent);
  background: var(--_accent);
  color: var(--_surface);
}

button.danger:not(:disabled) {
  border-color: var(--_bad);
  color: var(--_bad);
}

:focus-visible {
  outline: 2px solid var(--_accent);
  outline-offset: 2px;
}

.problem {
  display: grid;
  gap: 0.375rem;
  justify-items: start;
  padding: 0.75rem;
  border: 1px solid var(--_bad);
  border-inline-start-width: 4px;
  border-radius: calc(var(--_radius) * 0.6);
  overflow-wrap: anywhere;
}

.absent,
.empty:not(:empty) {
  padding: 1.25rem 0.75rem;
  border: 1px dashed var(--_line);
  border-radius: calc(var(--_radius) * 0.6);
  color: var(--_soft);
  text-align: center;
}

/* out of sight but present: a status that is added later would not be read aloud */
.outcome:empty,
.note:empty {
  position: absolute;
}

.outcome,
.note,
.range {
  color: var(--_soft);
  font-size: 0.875rem;
}

.range:not(:empty) {
  margin-inline-end: 0.25rem;
  font-variant-numeric: tabular-nums;
}

.unseen,
caption {
  position: absolute;
  inline-size: 1px;
  block-size: 1px;
  overflow: hidden;
  clip-path: inset(50%);
  white-space: nowrap;
}

/* -- charts -- */

.charts {
  display: grid;
  grid-template-columns: minmax(0, 1fr);
  gap: 0.875rem;
}

figcaption {
  display: flex;
  flex-wrap: wrap;
  justify-content: space-between;
  gap: 0 0.75rem;
  margin-block-end: 0.25rem;
  font-size: 0.8125rem;
}

.title {
  font-weight: 600;
}

.legend {
  display: flex;
  flex-wrap: wrap;
  gap: 0 0.875rem;
  color: var(--_soft);
}

.key::before {
  content: "";
  display: inline-block;
  inline-size: 1rem;
  margin-inline-end: 0.3125rem;
  border-block-start: 2px solid var(--_accent);
  vertical-align: middle;
}

.key-1::before {
  border-block-start: 2px dashed var(--_second);
}

.key b {
  color: var(--_ink);
  font-variant-numeric: tabular-nums;
}

.plot {
  position: relative;
}

.plot svg {
  display: block;
  inline-size: 100%;
  block-size: 5.5rem;
  overflow: visible;
  border-radius: 0.25rem;
  background: var(--_raised);
}

.most {
  position: absolute;
  inset-block-start: 0.125rem;
  inset-inline-start: 0.375rem;
  color: var(--_soft);
  font-size: 0.75rem;
  font-variant-numeric: tabular-nums;
}

.grid,
.line {
  fill: none;
  vector-effect: non-scaling-stroke;
}

.grid {
  stroke: var(--_line);
  stroke-width: 1;
}

.line {
  stroke: var(--_accent);
  stroke-width: 2;
  stroke-linejoin: round;
}

.line-1 {
  stroke: var(--_second);
  stroke-dasharray: 5 3;
}

.area {
  fill: var(--_accent);
  opacity: 0.14;
}

.axis {
  display: flex;
  justify-content: space-between;
  color: var(--_soft);
  font-size: 0.75rem;
}

/* -- tabs -- */

[role="tablist"] {
  display: grid;
  grid-template-columns: repeat(3, minmax(0, 1fr));
  gap: 0.5rem;
}

.turns {
  gap: 0.25rem;
}

.turns button {
  min-inline-size: 2.25rem;
  font-size: 1rem;
  line-height: 1;
}

[role="tab"] {
  display: flex;
  flex-wrap: wrap;
  container-type: inline-size;
  align-items: baseline;
  align-content: start;
  gap: 0 0.5rem;
  padding: 0.5rem;
  border-color: var(--_line);
  border-block-end-width: 3px;
  background: var(--_raised);
  text-align: start;
}

[role="tab"] span {
  inline-size: 100%;
  color: var(--_soft);
  font-size: 0.8125rem;
}

[role="tab"] small {
  color: var(--_second);
  font-size: 0.8125rem;
}

/* as large as fits, given the width of bold digits */
[role="tab"] .count {
  font-size: clamp(0.6875rem, 100cqi / (0.65 * var(--_characters, 1)), 1.375rem);
  line-height: 1.75rem;
  font-variant-numeric: tabular-nums;
  overflow-wrap: anywhere;
}

[role="tab"].dead.some .count {
  color: var(--_bad);
}

[role="tab"][aria-selected="true"] {
  border-color: var(--_accent);
  background: var(--_surface);
}

[role="tab"][aria-selected="true"] span {
  color: inherit;
  font-weight: 600;
}

[role="tabpanel"] {
  display: grid;
  grid-template-columns: minmax(0, 1fr);
  gap: 0.75rem;
}

/* -- messages -- */

.split {
  display: grid;
  grid-template-columns: minmax(0, 1fr);
  align-items: start;
  gap: 0.875rem;
}

table {
  inline-size: 100%;
  border-collapse: collapse;
  table-layout: fixed;
  font-size: 0.875rem;
}

th,
td {
  padding: 0.3125rem 0.5rem;
  border-block-end: 1px solid var(--_line);
  overflow: hidden;
  text-align: start;
  text-overflow: ellipsis;
  white-space: nowrap;
}

th {
  color: var(--_soft);
  font-size: 0.8125rem;
  font-weight: 500;
}

tbody tr {
  cursor: pointer;
}

tbody tr:hover {
  background: var(--_raised);
}

tbody tr.selected {
  background: color-mix(in srgb, var(--_accent) 14%, transparent);
  box-shadow: inset 3px 0 var(--_accent);
}

.age {
  inline-size: 4.25rem;
  font-variant-numeric: tabular-nums;
}

.sender {
  inline-size: 24%;
}

.size,
.deliveries {
  display: none;
  inline-size: 5.25rem;
  text-align: end;
  font-variant-numeric: tabular-nums;
}

.deliveries {
  inline-size: 6.25rem;
}

.reason,
.holder {
  display: none;
}

.holder {
  inline-size: 11rem;
}

.dead .reason {
  display: table-cell;
}

.dead .sender {
  display: none;
}

.preview div {
  display: flex;
  align-items: center;
  gap: 0.375rem;
}

.open {
  min-inline-size: 0;
  min-block-size: 0;
  margin-inline-start: -0.125rem;
  padding: 0.0625rem 0.125rem;
  overflow: hidden;
  border: 0;
  background: none;
  text-align: start;
  text-overflow: ellipsis;
  white-space: nowrap;
}

.open:hover:not(:disabled) {
  background: none;
}

.open:focus-visible {
  outline-offset: -2px;
}

.tag {
  flex: none;
  padding: 0 0.375rem;
  border: 1px solid var(--_edge);
  border-radius: 1rem;
  color: var(--_soft);
  font-size: 0.75rem;
}

.tag:empty {
  display: none;
}

.high {
  border-color: var(--_second);
  color: var(--_second);
}

.due {
  font-variant-numeric: tabular-nums;
}

/* -- one message -- */

.detail {
  padding: 0.875rem;
  border: 1px solid var(--_line);
  border-radius: calc(var(--_radius) * 0.6);
}

pre {
  max-block-size: 18rem;
  padding: 0.625rem;
  overflow: auto;
  border-radius: 0.25rem;
  background: var(--_raised);
  font: 0.8125rem/1.5 var(--_mono);
  overflow-wrap: anywhere;
  tab-size: 4;
  white-space: pre-wrap;
}

pre.hex,
pre.traceback {
  overflow-wrap: normal;
  white-space: pre;
}

pre.empty {
  display: none;
}

.death {
  display: grid;
  grid-template-columns: minmax(0, 1fr);
  gap: 0.5rem;
}

.death:empty,
.detail > .buttons:empty {
  display: none;
}

.why {
  padding-inline-start: 0.625rem;
  border-inline-start: 3px solid var(--_bad);
  overflow-wrap: anywhere;
  white-space: pre-wrap;
}

.modes {
  display: flex;
  flex-wrap: wrap;
  align-items: center;
  gap: 0.25rem 0.875rem;
  font-size: 0.875rem;
}

.modes legend {
  float: inline-start;
  margin-inline-end: 0.875rem;
  color: var(--_soft);
}

.modes label {
  display: inline-flex;
  align-items: center;
  gap: 0.3125rem;
  min-block-size: 1.5rem;
}

.modes input {
  margin: 0;
  accent-color: var(--_accent);
}

.facts {
  display: grid;
  grid-template-columns: fit-content(40%) minmax(0, 1fr);
  gap: 0.125rem 0.875rem;
  font-size: 0.875rem;
}

.facts dt {
  color: var(--_soft);
  overflow-wrap: anywhere;
}

.facts dd {
  overflow-wrap: anywhere;
}

.headers {
  margin-block-start: 0.25rem;
}

.headers dd {
  white-space: pre-wrap;
}

dialog {
  max-inline-size: min(30rem, calc(100vw - 2rem));
  padding: 1.25rem;
  border: 1px solid var(--_edge);
  border-radius: var(--_radius);
  background: var(--_surface);
  color: var(--_ink);
}

dialog::backdrop {
  background: rgb(0 0 0 / 45%);
}

dialog form {
  display: grid;
  gap: 0.875rem;
}

dialog p {
  overflow-wrap: anywhere;
}

dialog .buttons {
  justify-content: end;
}

/* -- with more room -- */

@container (width >= 36rem) {
  .charts {
    grid-template-columns: repeat(2, minmax(0, 1fr));
  }

  .size,
  .dead .sender,
  .inflight .holder {
    display: table-cell;
  }

  [role="tab"] {
    padding-inline: 0.75rem;
  }

  [role="tab"] span {
    font-size: 0.875rem;
  }
}

@container (width >= 52rem) {
  .inspector {
    padding: 1.125rem;
  }

  .split.with-detail {
    grid-template-columns: minmax(0, 1fr) minmax(0, 1fr);
  }

  .split:not(.with-detail) .deliveries {
    display: table-cell;
  }

  .split.with-detail :is(.inflight, .dead) .size {
    display: none;
  }

  .detail {
    position: sticky;
    inset-block-start: 0.5rem;
  }
}

@media (prefers-reduced-motion: no-preference) {
  button,
  tbody tr {
    transition: background-color 120ms;
  }
}

/* with only the system's colours, without backgrounds and shadows, borders, outlines and lines must do */
@media (forced-colors: active) {
  [role="tab"][aria-selected="true"],
  tbody tr.selected {
    outline: 2px solid Highlight;
    outline-offset: -2px;
  }

  tbody tr:hover:not(.selected) {
    outline: 1px dashed CanvasText;
    outline-offset: -1px;
  }

  button:hover:not(:disabled) {
    border-color: Highlight;
  }

  button[aria-pressed="true"] {
    border-color: Highlight;
    background: Highlight;
    color: HighlightText;
    forced-color-adjust: none;
  }

  button:disabled {
    border-color: GrayText;
    color: GrayText;
    opacity: 1;
  }

  pre,
  .plot svg {
    border: 1px solid CanvasText;
  }

  .plot svg {
    background: Canvas;
  }

  .grid {
    stroke: CanvasText;
    opacity: 0.4;
  }

  .line {
    stroke: CanvasText;
  }

  .area {
    fill: CanvasText;
  }

  .why,
  .problem {
    border-color: CanvasText;
  }

  .modes input {
    accent-color: auto;
  }
}
`;

/** @type {CSSStyleSheet | undefined} */
let sheet;

/** The one style sheet of all inspectors. */
export function styleSheet() {
  if (sheet === undefined) {
    sheet = new CSSStyleSheet();
    sheet.replaceSync(CSS);
  }
  return sheet;
}
