import { getDisplayValueAlignmentFactors } from '@grafana/data';
import { BarGauge, VizRepeater } from '@grafana/ui';
import { reducedValues } from './reduced.js';

export function Panel(props) {
  const { panel, frames, width, height, theme } = props;
  const options = {
    displayMode: 'gradient',
    orientation: 'auto',
    showUnfilled: true,
    valueMode: 'color',
    namePlacement: 'auto',
    minVizWidth: 8,
    minVizHeight: 16,
    maxVizHeight: 300,
    ...panel.options,
  };
  return (
    <VizRepeater
      getValues={reducedValues(props, false)}
      getAlignmentFactors={getDisplayValueAlignmentFactors}
      renderValue={({ value, width, height, alignmentFactors, orientation, count }) => (
        <BarGauge
          value={count === 1 && !value.field.displayName ? { ...value.display, title: undefined } : value.display}
          field={value.field}
          display={value.view?.getFieldDisplayProcessor(value.colIndex)}
          alignmentFactors={count > 1 ? alignmentFactors : undefined}
          displayMode={options.displayMode}
          orientation={orientation}
          showUnfilled={options.showUnfilled}
          valueDisplayMode={options.valueMode}
          namePlacement={options.namePlacement}
          text={options.text}
          itemSpacing={10}
          width={width}
          height={height}
          theme={theme}
        />
      )}
      source={frames}
      renderCounter={0}
      itemSpacing={10}
      orientation={options.orientation}
      minVizWidth={options.minVizWidth}
      minVizHeight={options.minVizHeight}
      maxVizHeight={options.maxVizHeight}
      width={width}
      height={height}
    />
  );
}
