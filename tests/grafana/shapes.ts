// What Grafana's own types say of a dashboard, for JSON: a file that is assigned to `DashboardFile` has no field that
// Grafana does not know, of no other type, in no panel, and no option of another kind of panel.
import type { DataLink } from '@grafana/data';
import type { AnnotationQuery, Dashboard, DataSourceRef, FieldConfig, Panel, RowPanel, VariableModel } from '@grafana/schema';
import type * as stat from '@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen';
import type * as table from '@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen';
import type * as timeseries from '@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen';

// Enumerations of TypeScript are plain texts in JSON.
type Json<T> = T extends string
  ? `${T}`
  : T extends (infer Item)[]
    ? Json<Item>[]
    : T extends object
      ? { [Key in keyof T]: Json<T[Key]> }
      : T;

// Gaps of the packages, each with what stands in for it here.

// The queries of Prometheus: their types are in Grafana's server and in no package of this licence.
interface PrometheusQuery {
  refId: string;
  datasource: DataSourceRef;
  expr: string;
  legendFormat: string;
  format: 'time_series' | 'table';
  editorMode: 'code';
  instant: boolean;
  range: boolean;
  exemplar: boolean;
}

// Prometheus' annotations have these fields beside those of all annotations.
interface PrometheusAnnotation extends Omit<AnnotationQuery, 'target'> {
  target: { refId: string; expr: string; interval: string };
  titleFormat: string;
  textFormat: string;
  tagKeys: string;
  useValueForTime: boolean;
}

// What the editor shows for a variable: written by every Grafana, and not in the schema.
interface Variable extends VariableModel {
  definition?: string;
}

// The schema calls the options of transformations unknown, and @grafana/data exports these types under no name.
type Transformation =
  | { id: 'merge'; options: Record<string, never> }
  | {
      id: 'organize';
      options: {
        excludeByName: Record<string, boolean>;
        includeByName?: Record<string, boolean>;
        indexByName?: Record<string, number>;
        renameByName: Record<string, string>;
      };
    };

// The rest is put together from the types of the packages.

type Defaults<Custom> = Omit<FieldConfig, 'custom' | 'links'> & { custom?: Custom; links?: Pick<DataLink, 'title' | 'url' | 'targetBlank'>[] };

type Property<Custom> =
  | { [Key in keyof FieldConfig]-?: { id: Key; value: FieldConfig[Key] } }[keyof FieldConfig]
  | { [Key in keyof Custom & string]-?: { id: `custom.${Key}`; value: Custom[Key] } }[keyof Custom & string];

interface Shown<Kind extends string, Options, Custom>
  extends Omit<Panel, 'type' | 'options' | 'fieldConfig' | 'targets' | 'transformations'> {
  type: Kind;
  title: string;
  description: string;
  options: Options;
  fieldConfig: {
    defaults: Defaults<Custom>;
    overrides: { matcher: { id: 'byName' | 'byRegexp'; options: string }; properties: Property<Custom>[] }[];
  };
  targets: PrometheusQuery[];
  transformations?: Transformation[];
}

type AnyPanel =
  | RowPanel
  | Shown<'stat', stat.Options, Record<string, never>>
  | Shown<'table', table.Options, table.FieldConfig>
  | Shown<'timeseries', timeseries.Options, timeseries.FieldConfig>;

interface Whole extends Omit<Dashboard, 'panels' | 'annotations' | 'templating'> {
  panels: AnyPanel[];
  annotations: { list: PrometheusAnnotation[] };
  templating: { list: Variable[] };
}

export type DashboardFile = Json<Whole>;
