// Prometheus' HTTP API, and its answers as Grafana's data frames.
import { FieldType } from '@grafana/data';

async function get(path, parameters) {
  const response = await fetch(`/prometheus/api/v1/${path}?${new URLSearchParams(parameters)}`);
  const answer = await response.json();
  if (answer.status !== 'success') {
    throw new Error(answer.error ?? `HTTP ${response.status}`);
  }
  return answer.data;
}

export const queryInstant = (query, at) => get('query', { query, time: at / 1000 });

export const queryRange = (query, from, to, step) =>
  get('query_range', { query, start: Math.floor(from / step) * (step / 1000), end: to / 1000, step: step / 1000 });

export async function labelValues(label, selector, from, to) {
  const values = await get(`label/${label}/values`, {
    ...(selector ? { 'match[]': selector } : {}),
    start: from / 1000,
    end: to / 1000,
  });
  return values.sort();
}

// Samples of one series of either kind of answer.
const samples = (series) => series.values ?? [series.value];

function seriesName(labels, legend, expr) {
  if (!legend || legend === '__auto') {
    return Object.keys(labels).length > 0 ? undefined : expr;
  }
  return legend.replace(/\{\{\s*(.+?)\s*\}\}/g, (_, label) => labels[label] ?? '');
}

export function seriesFrames(data, target, expr, step) {
  const result = data.resultType === 'scalar' ? [{ metric: {}, value: data.result }] : data.result;
  return result.map((series) => {
    const { __name__: name = 'Value', ...labels } = series.metric;
    const displayNameFromDS = seriesName(labels, target.legendFormat, expr);
    return {
      refId: target.refId,
      name: displayNameFromDS,
      length: samples(series).length,
      fields: [
        { name: 'Time', type: FieldType.time, config: { interval: step }, values: samples(series).map(([at]) => at * 1000) },
        {
          name,
          type: FieldType.number,
          labels,
          config: displayNameFromDS === undefined ? {} : { displayNameFromDS },
          values: samples(series).map(([, value]) => Number(value)),
        },
      ],
    };
  });
}

export function tableFrame(data, target, several) {
  const rows = data.result.flatMap(({ metric, ...series }) => samples(series).map(([at, value]) => ({ metric, at, value })));
  const labels = [...new Set(rows.flatMap(({ metric }) => Object.keys(metric)))].sort();
  return {
    refId: target.refId,
    length: rows.length,
    fields: [
      { name: 'Time', type: FieldType.time, config: {}, values: rows.map(({ at }) => at * 1000) },
      ...labels.map((label) => ({
        name: label,
        type: FieldType.string,
        config: {},
        values: rows.map(({ metric }) => metric[label] ?? ''),
      })),
      {
        name: several ? `Value #${target.refId}` : 'Value',
        type: FieldType.number,
        config: {},
        values: rows.map(({ value }) => Number(value)),
      },
    ],
  };
}

const upperBound = (frame) => Number(frame.fields[1].labels.le.replace('+Inf', 'Infinity'));

// Buckets count up to their bound. A heatmap shows what lies between a bound and the one below it.
export function heatmapFrames(frames) {
  const sorted = frames.filter((frame) => frame.fields[1].labels?.le).sort((a, b) => upperBound(a) - upperBound(b));
  return sorted.map((frame, i) => {
    const [time, value] = frame.fields;
    const below = i === 0 ? new Map() : new Map(sorted[i - 1].fields[0].values.map((at, k) => [at, sorted[i - 1].fields[1].values[k]]));
    return {
      ...frame,
      name: value.labels.le,
      fields: [
        time,
        {
          ...value,
          config: { displayNameFromDS: value.labels.le },
          values: value.values.map((count, k) => Math.max(0, count - (below.get(time.values[k]) ?? 0))),
        },
      ],
    };
  });
}
