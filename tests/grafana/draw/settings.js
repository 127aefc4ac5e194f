// The settings of fields that Grafana's server registers and its libraries do not: each is taken as it is written.
import { Registry, standardFieldConfigEditorRegistry } from '@grafana/data';

const STANDARD = ['unit', 'decimals', 'min', 'max', 'displayName', 'color', 'thresholds', 'mappings', 'links', 'noValue'];

const asIs = (value) => value;

const setting = (path, custom) => ({
  id: custom ? `custom.${path}` : path,
  name: path,
  path,
  isCustom: custom,
  process: asIs,
  override: () => null,
  editor: () => null,
  settings: {},
  shouldApply: () => true,
  getItemsCount: () => 0,
});

export function registerStandard() {
  standardFieldConfigEditorRegistry.setInit(() => STANDARD.map((path) => setting(path, false)));
}

// All settings that a panel uses; a standard one that is not known here would be left out in silence, so it is an error.
export function settingsOf(panel) {
  const { defaults, overrides } = panel.fieldConfig;
  const given = [...Object.keys(defaults), ...overrides.flatMap((one) => one.properties.map((property) => property.id))];
  const unknown = given.filter((id) => id !== 'custom' && !id.startsWith('custom.') && !STANDARD.includes(id));
  if (unknown.length) throw new Error(`settings that cannot be drawn: ${unknown.join(', ')}`);
  const custom = new Set([
    ...Object.keys(defaults.custom ?? {}),
    ...given.filter((id) => id.startsWith('custom.')).map((id) => id.slice('custom.'.length)),
  ]);
  return new Registry(() => [...STANDARD.map((path) => setting(path, false)), ...[...custom].map((path) => setting(path, true))]);
}
