import { cacheFieldDisplayNames } from '@grafana/data';
import { TableNG } from '@grafana/ui/unstable';

export const defaults = { custom: { align: 'auto', cellOptions: { type: 'auto' }, inspect: false } };

export function Panel({ panel, frames, width, height, timeRange }) {
  const options = panel.options;
  cacheFieldDisplayNames(frames);
  return (
    <TableNG
      data={frames[options.frameIndex ?? 0]}
      width={width}
      height={height}
      noHeader={options.showHeader === false}
      sortBy={options.sortBy}
      cellHeight={options.cellHeight ?? 'sm'}
      timeRange={timeRange}
      fieldConfig={panel.fieldConfig}
      structureRev={1}
      enableVirtualization={false}
      onCellFilterAdded={() => {}}
    />
  );
}
