// Grafana's marks of annotations: a dashed line and a triangle below the axis; a tinted band for what lasts.
import { colorManipulator } from '@grafana/data';

const SIZE = 5;

function line(ctx, x, { top, height }, ratio) {
  ctx.lineWidth = ratio;
  ctx.setLineDash([5 * ratio, 5 * ratio]);
  ctx.beginPath();
  ctx.moveTo(x, top);
  ctx.lineTo(x, top + height);
  ctx.stroke();
}

function triangle(ctx, x, bottom, size) {
  ctx.beginPath();
  ctx.moveTo(x, bottom);
  ctx.lineTo(x - size, bottom + size);
  ctx.lineTo(x + size, bottom + size);
  ctx.fill();
}

export const annotationMarks = (annotations, theme) => ({
  fieldMap: {},
  indicesOnly: [],
  init: (builder) =>
    builder.addHook('draw', (plot) => {
      const { ctx, bbox } = plot;
      const [left, right, bottom] = [bbox.left, bbox.left + bbox.width, bbox.top + bbox.height];
      ctx.save();
      for (const { from, to, color: name } of annotations) {
        const [x0, x1] = [from, to].map((at) => Math.round(plot.valToPos(at, 'x', true)));
        if (x1 < left || x0 > right) {
          continue;
        }
        const color = theme.visualization.getColorByName(name);
        ctx.strokeStyle = ctx.fillStyle = color;
        for (const x of new Set([x0, x1])) {
          if (x >= left && x <= right) {
            line(ctx, x, bbox, devicePixelRatio);
          }
        }
        if (x0 === x1) {
          triangle(ctx, x0, bottom, SIZE * devicePixelRatio);
        } else {
          const [start, end] = [Math.max(x0, left), Math.min(x1, right)];
          ctx.fillRect(start, bottom, end - start, SIZE * devicePixelRatio);
          ctx.fillStyle = colorManipulator.alpha(color, 0.1);
          ctx.fillRect(start, bbox.top, end - start, bbox.height);
        }
      }
      ctx.restore();
    }),
});
