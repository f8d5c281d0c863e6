// A dashboard's variables: their values, and their substitution in queries as Grafana's Prometheus data source does it.
import { labelValues } from './prometheus.js';

const ALL = '$__all';
const NAME = /\$(\w+)|\$\{(\w+)(?::(\w+))?\}|\[\[(\w+)\]\]/g;

const escapeRegex = (value) => value.replace(/[\\^$.*+?()[\]{}|]/g, '\\\\$&');
const list = (value) => (Array.isArray(value) ? value : [value]);

export function substitute(text, variables, format) {
  return text.replace(NAME, (whole, plain, braced, ownFormat, bracketed) => {
    const variable = variables[plain ?? braced ?? bracketed];
    return variable === undefined ? whole : variable[ownFormat ?? format] ?? variable.query;
  });
}

const fixed = (value) => ({ query: String(value), text: String(value) });

function entry(variable, values, options) {
  const all = values.includes(ALL);
  const chosen = all ? options : values;
  const regex = variable.multi || variable.includeAll;
  const quoted = regex ? chosen.map(escapeRegex) : chosen;
  const joined = quoted.length === 1 ? quoted[0] : `(${quoted.join('|')})`;
  const query = all && variable.allValue ? variable.allValue : joined;
  return { query, raw: chosen.join(','), text: all ? 'All' : chosen.join(' + ') };
}

async function optionsOf(variable, known, from, to) {
  if (variable.type !== 'query') {
    return (variable.options ?? []).map(({ value }) => value).filter((value) => value !== ALL);
  }
  const query = typeof variable.query === 'string' ? variable.query : variable.query.query;
  const call = /^label_values\((?:(.+),)?\s*(\w+)\s*\)$/.exec(substitute(query, known, 'query'));
  if (!call) {
    throw new Error(`variable ${variable.name}: only label_values() is understood, not ${query}`);
  }
  const values = await labelValues(call[2], call[1]?.trim(), from, to);
  return variable.regex ? values.filter((value) => new RegExp(variable.regex.replace(/^\/|\/$/g, '')).test(value)) : values;
}

// Each visible variable with what is shown of it, and the values for substitute().
export async function resolve(dashboard, given, from, to) {
  const known = {
    __range: fixed(`${Math.round((to - from) / 1000)}s`),
    __range_s: fixed(Math.round((to - from) / 1000)),
    __range_ms: fixed(to - from),
  };
  const shown = [];
  for (const variable of dashboard.templating?.list ?? []) {
    if (variable.type === 'datasource') {
      known[variable.name] = fixed('Prometheus');
    } else if (variable.type === 'constant' || variable.type === 'textbox') {
      known[variable.name] = fixed(given[variable.name] ?? variable.query);
    } else {
      const options = await optionsOf(variable, known, from, to);
      const standard = list(variable.current?.value ?? []).filter((value) => value === ALL || options.includes(value));
      const first = variable.includeAll ? [ALL] : options.slice(0, 1);
      const values = given[variable.name]?.split(',') ?? (standard.length > 0 ? standard : first);
      known[variable.name] = entry(variable, values, options);
    }
    if ((variable.hide ?? 0) !== 2) {
      shown.push({ label: variable.label || variable.name, text: known[variable.name].text });
    }
  }
  return { known, shown };
}

export const withIntervals = (known, step, scrape) => ({
  ...known,
  __interval: fixed(`${step / 1000}s`),
  __interval_ms: fixed(step),
  __rate_interval: fixed(`${Math.max(step + scrape, 4 * scrape) / 1000}s`),
});
