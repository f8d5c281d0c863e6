// @grafana/ui has no heatmap: cells drawn on Grafana's own axes, one row for each bucket.
import { formattedValueToString, getValueFormat } from '@grafana/data';
import { UPlotChart, UPlotConfigBuilder } from '@grafana/ui';
import * as schemes from 'd3-scale-chromatic';

// As many bounds as there is room for.
function labelled(rows, height) {
  let shown = rows.map((_, i) => i + 1);
  while (shown.length > 3 && height / shown.length < 12) {
    shown = shown.filter((_, i) => i % 2 === 0);
  }
  return shown;
}

function config(rows, options, unit, timeRange, theme) {
  const step = rows[0].fields[0].config.interval;
  const color = schemes[`interpolate${options.color?.scheme ?? 'Oranges'}`];
  const most = Math.max(...rows.flatMap((row) => row.fields[1].values));
  const format = (bound) => (bound === '+Inf' ? bound : formattedValueToString(getValueFormat(unit)(Number(bound))));
  const builder = new UPlotConfigBuilder('utc');
  builder.addScale({ scaleKey: 'x', isTime: true, orientation: 0, direction: 1, range: () => [+timeRange.from, +timeRange.to] });
  builder.addScale({ scaleKey: 'y', isTime: false, orientation: 1, direction: 1, range: () => [0, rows.length] });
  builder.addAxis({ scaleKey: 'x', isTime: true, placement: 'bottom', timeZone: 'utc', theme, grid: { show: false } });
  builder.addAxis({
    scaleKey: 'y',
    placement: 'left',
    theme,
    grid: { show: false },
    splits: ({ height }) => labelled(rows, height),
    values: (_, shown) => shown.map((i) => format(rows[i - 1].name)),
  });
  builder.addSeries({ scaleKey: 'y', theme, show: true, pathBuilder: () => null, pointsBuilder: () => undefined });
  builder.setPrepData(() => [[+timeRange.from, +timeRange.to], [null, null]]);
  builder.addHook('draw', ({ ctx, bbox, valToPos }) => {
    ctx.save();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    rows.forEach((row, i) => {
      const top = valToPos(i + 1, 'y', true);
      const height = valToPos(i, 'y', true) - top;
      row.fields[0].values.forEach((at, k) => {
        const count = row.fields[1].values[k];
        if (count > 0) {
          const left = valToPos(at - step, 'x', true);
          // The dark theme turns schemes round: low counts are dark, high ones bright.
          ctx.fillStyle = color(1 - count / most);
          ctx.fillRect(left, top, valToPos(at, 'x', true) - left - 1, height - 1);
        }
      });
    });
    ctx.restore();
  });
  builder.scaleKeys = ['x', 'y'];
  return builder;
}

export function Panel({ panel, frames, width, height, timeRange, theme }) {
  const unit = panel.options.yAxis?.unit ?? panel.fieldConfig.defaults.unit;
  const builder = config(frames, panel.options, unit, timeRange, theme);
  return <UPlotChart config={builder} data={builder.prepData([])} width={width} height={height} timeRange={timeRange} />;
}
