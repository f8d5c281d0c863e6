import { getDisplayValueAlignmentFactors } from '@grafana/data';
import { BigValue, VizRepeater } from '@grafana/ui';
import { reducedValues } from './reduced.js';

// Without data it shows what the dashboard says in place of a value.
export const drawsNothing = true;

export function Panel(props) {
  const { panel, frames, width, height, timeRange, theme } = props;
  const options = {
    colorMode: 'value',
    graphMode: 'area',
    justifyMode: 'auto',
    orientation: 'auto',
    textMode: 'auto',
    wideLayout: true,
    ...panel.options,
  };
  const named = options.textMode === 'auto' && (panel.fieldConfig.defaults.displayName || !panel.title);
  return (
    <VizRepeater
      getValues={reducedValues(props, options.graphMode !== 'none')}
      getAlignmentFactors={getDisplayValueAlignmentFactors}
      renderValue={({ value, width, height, alignmentFactors, orientation, count }) => (
        <BigValue
          value={value.display}
          count={count}
          sparkline={value.sparkline && { ...value.sparkline, timeRange }}
          colorMode={options.colorMode}
          graphMode={options.graphMode}
          justifyMode={options.justifyMode}
          textMode={named ? 'value_and_name' : options.textMode}
          alignmentFactors={alignmentFactors}
          parentOrientation={orientation}
          text={options.text}
          disableWideLayout={!options.wideLayout}
          width={width}
          height={height}
          theme={theme}
        />
      )}
      source={frames}
      renderCounter={0}
      itemSpacing={3}
      autoGrid
      orientation={options.orientation}
      width={width}
      height={height}
    />
  );
}
