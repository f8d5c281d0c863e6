// @grafana/ui has no state timeline: lanes drawn on Grafana's own axes, with Grafana's own legend.
import { FieldType, getFieldDisplayName } from '@grafana/data';
import { UPlotChart, UPlotConfigBuilder, VizLayout, VizLegend } from '@grafana/ui';

export const defaults = { color: 'continuous-GrYlRd', custom: { fillOpacity: 70 } };

// Every series as runs of one shown value.
function lanesOf(frames) {
  return frames.flatMap((frame) => {
    const time = frame.fields.find(({ type }) => type === FieldType.time);
    return frame.fields
      .filter(({ type }) => type === FieldType.number || type === FieldType.string)
      .map((field) => {
        const runs = [];
        field.values.forEach((value, i) => {
          const { text, suffix, prefix, color } = field.display(value);
          const label = `${prefix ?? ''}${text}${suffix ?? ''}`;
          const from = time.values[i];
          const last = runs.at(-1);
          const gap = last && from - last.to > 1.5 * time.config.interval;
          if (last && !gap) {
            last.to = from;
          }
          if (!last || gap || last.label !== label) {
            runs.push({ from, to: from, label, color });
          }
        });
        return { name: getFieldDisplayName(field, frame, frames), runs, field };
      });
  });
}

function drawLanes(plot, lanes, { rowHeight = 0.9, showValue = 'auto' }, theme) {
  const { ctx, bbox } = plot;
  const ratio = devicePixelRatio;
  const lane = bbox.height / lanes.length;
  ctx.save();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  ctx.font = `${12 * ratio}px ${theme.typography.fontFamily}`;
  ctx.textAlign = 'left';
  ctx.textBaseline = 'middle';
  lanes.forEach(({ runs, field }, row) => {
    const height = lane * rowHeight;
    const top = bbox.top + row * lane + (lane - height) / 2;
    for (const { from, to, label, color } of runs) {
      const left = plot.valToPos(from, 'x', true);
      const width = Math.max(ratio, plot.valToPos(to, 'x', true) - left);
      ctx.globalAlpha = (field.config.custom.fillOpacity) / 100;
      ctx.fillStyle = color;
      ctx.fillRect(left, top, width, height);
      ctx.globalAlpha = 1;
      if (showValue === 'always' || (showValue === 'auto' && ctx.measureText(label).width + 8 * ratio < width)) {
        ctx.fillStyle = theme.colors.getContrastText(color);
        ctx.fillText(label, left + 4 * ratio, top + height / 2);
      }
    }
  });
  ctx.restore();
}

function config(lanes, options, timeRange, theme) {
  const builder = new UPlotConfigBuilder('utc');
  builder.addScale({ scaleKey: 'x', isTime: true, orientation: 0, direction: 1, range: () => [+timeRange.from, +timeRange.to] });
  builder.addScale({ scaleKey: 'y', isTime: false, orientation: 1, direction: 1, range: () => [0, lanes.length] });
  builder.addAxis({ scaleKey: 'x', isTime: true, placement: 'bottom', timeZone: 'utc', theme, grid: { show: true } });
  builder.addAxis({
    scaleKey: 'y',
    placement: 'left',
    theme,
    grid: { show: false },
    ticks: { show: false },
    splits: lanes.map((_, row) => lanes.length - row - 0.5),
    values: lanes.map(({ name }) => name),
  });
  builder.addSeries({ scaleKey: 'y', theme, show: true, pathBuilder: () => null, pointsBuilder: () => undefined });
  builder.setPrepData(() => [[+timeRange.from, +timeRange.to], [null, null]]);
  builder.addHook('draw', (plot) => drawLanes(plot, lanes, options, theme));
  builder.scaleKeys = ['x', 'y'];
  return builder;
}

export function Panel({ panel, frames, width, height, timeRange, theme }) {
  const lanes = lanesOf(frames);
  const { legend } = panel.options;
  const builder = config(lanes, panel.options, timeRange, theme);
  const seen = new Map(lanes.flatMap(({ runs }) => runs.map(({ label, color }) => [label, color])));
  const items = [...seen].map(([label, color]) => ({ label, color, yAxis: 1 }));
  const drawn = legend?.showLegend === false ? null : (
    <VizLayout.Legend placement={legend?.placement ?? 'bottom'}>
      <VizLegend placement={legend?.placement ?? 'bottom'} displayMode={legend?.displayMode ?? 'list'} items={items} readonly />
    </VizLayout.Legend>
  );
  return (
    <VizLayout width={width} height={height} legend={drawn}>
      {(vizWidth, vizHeight) => (
        <UPlotChart config={builder} data={builder.prepData([])} width={vizWidth} height={vizHeight} timeRange={timeRange} />
      )}
    </VizLayout>
  );
}
