// The page that render.mjs takes a picture of. Its address says which dashboard, range and variables.
import '@fontsource/inter/400.css';
import '@fontsource/inter/500.css';
import '@fontsource/roboto-mono/400.css';
import { createTheme, dateTime, EventBusSrv, rangeUtil, ThemeContext } from '@grafana/data';
import { GlobalStyles, PanelContextProvider } from '@grafana/ui';
import { createRoot } from 'react-dom/client';
import { Dashboard, panelWidth } from './Dashboard.jsx';
import { hasValues, panelFrames } from './data.js';
import { panels } from './panels/index.js';
import { queryRange } from './prometheus.js';
import { setup } from './setup.js';
import { resolve, substitute, withIntervals } from './variables.js';

const FONTS = ['12px Inter', '500 12px Inter', '12px "Roboto Mono"'];

// Prometheus refuses more, and Grafana asks for no more.
const MOST_POINTS = 11000;

const problems = [];

// Samples no more than a step apart are one event, which lasts from the first to the last of them.
function events(samples, step, color) {
  const marks = [];
  for (const at of samples) {
    const last = marks.at(-1);
    if (last && at - last.to <= step) {
      last.to = at;
    } else {
      marks.push({ from: at, to: at, color });
    }
  }
  return marks;
}

async function annotationsOf(dashboard, view) {
  const marks = [];
  for (const { name, enable, expr, step: text = '60s', iconColor = 'blue', useValueForTime } of dashboard.annotations?.list ?? []) {
    if (!enable || !expr) {
      continue;
    }
    try {
      const step = rangeUtil.intervalToMs(text);
      const coarse = Math.max(step, Math.ceil((view.to - view.from) / MOST_POINTS / 1000) * 1000);
      const query = substitute(expr, withIntervals(view.variables, step, view.scrape), 'query');
      const { result } = await queryRange(query, view.from, view.to, coarse);
      for (const { values } of result) {
        const samples = useValueForTime
          ? values.map(([, value]) => Math.floor(Number(value)))
          : values.filter(([, value]) => Number(value) > 0).map(([at]) => at * 1000);
        marks.push(...events(samples, step, iconColor));
      }
    } catch (error) {
      problems.push(`annotation “${name}”: ${error.message}`);
    }
  }
  return marks;
}

async function load(panel, width, view, annotations) {
  if (!panels[panel.type]) {
    problems.push(`“${panel.title}”: panel type “${panel.type}” cannot be drawn here`);
    return { frames: [], errors: [], annotations };
  }
  const { frames, errors } = await panelFrames(panel, width, view);
  problems.push(...errors.map((error) => `“${panel.title}”: ${error}`));
  const empty = !hasValues(frames);
  if (empty && panel.targets?.length) {
    problems.push(`“${panel.title}”: no data`);
  }
  return { frames, errors, empty, annotations };
}

async function linksOf(dashboard) {
  const titles = [];
  for (const link of dashboard.links ?? []) {
    if (link.type === 'dashboards' && !link.asDropdown) {
      const others = await (await fetch('/dashboards')).json();
      titles.push(...others.filter(({ tags }) => link.tags.every((tag) => tags.includes(tag))).map(({ title }) => title));
    } else {
      titles.push(link.title);
    }
  }
  return titles;
}

async function main() {
  await setup();
  // Text on a canvas does not wait for its font.
  await Promise.all(FONTS.map((font) => document.fonts.load(font)));
  const parameters = new URLSearchParams(location.search);
  const [from, to, scrape, width] = ['from', 'to', 'scrape', 'width'].map((name) => Number(parameters.get(name)));
  const given = JSON.parse(parameters.get('variables'));
  const dashboard = await (await fetch(`/dashboards/${parameters.get('dashboard')}`)).json();
  const { known, shown } = await resolve(dashboard, given, from, to);
  const range = { from: dateTime(from), to: dateTime(to) };
  const view = { from, to, scrape, variables: known, timeRange: { ...range, raw: range } };
  const annotations = await annotationsOf(dashboard, view);
  const loaded = {};
  for (const panel of dashboard.panels.filter(({ type }) => type !== 'row')) {
    loaded[panel.id] = await load(panel, panelWidth(panel.gridPos.w, width), view, annotations);
  }
  const context = { eventBus: new EventBusSrv(), eventsScope: 'dashboard' };
  createRoot(document.getElementById('root'), { onUncaughtError: fail }).render(
    <ThemeContext.Provider value={createTheme({ colors: { mode: 'dark' } })}>
      <GlobalStyles />
      <PanelContextProvider value={context}>
        <Dashboard {...{ dashboard, shown, loaded, view, width }} links={await linksOf(dashboard)} />
      </PanelContextProvider>
    </ThemeContext.Provider>
  );
  // Charts measure themselves and draw after they are mounted, tables a moment later.
  setTimeout(() => (window.pictureReady = { problems }), 1500);
}

function fail(error) {
  window.pictureReady = { problems, fatal: error.stack ?? String(error) };
}

main().catch(fail);
