import * as bargauge from './bargauge.jsx';
import * as heatmap from './heatmap.jsx';
import * as stat from './stat.jsx';
import * as statetimeline from './statetimeline.jsx';
import * as table from './table.jsx';
import * as text from './text.jsx';
import * as timeseries from './timeseries.jsx';

export const panels = { bargauge, heatmap, stat, 'state-timeline': statetimeline, table, text, timeseries };
