// @grafana/ui has no heatmap: cells drawn on Grafana's own axes, one row for each bucket that was ever hit.
import { formattedValueToString, getValueFormat } from '@grafana/data';
import { UPlotChart, UPlotConfigBuilder } from '@grafana/ui';
import { interpolateOranges } from 'd3-scale-chromatic';

function config(rows, step, unit, timeRange, theme) {
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
    splits: () => rows.map((_, i) => i + 1),
    values: () => rows.map((row) => format(row.name)),
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
          // Low counts are dark and high ones bright, as in Grafana's dark theme; the square root lifts the low ones.
          ctx.fillStyle = interpolateOranges(1 - Math.sqrt(count / most));
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
  const hit = frames.map((frame) => frame.fields[1].values.some((count) => count > 0));
  const rows = frames.slice(Math.max(0, hit.indexOf(true) - 1), hit.lastIndexOf(true) + 2);
  const unit = panel.options.yAxis?.unit ?? panel.fieldConfig.defaults.unit ?? 's';
  const builder = config(rows, frames[0].fields[0].config.interval, unit, timeRange, theme);
  return <UPlotChart config={builder} data={builder.prepData([])} width={width} height={height} timeRange={timeRange} />;
}
