export { ConfigurationError, EXIT_CONFIGURATION } from './configuration-error.js';
export { DatabaseSettings } from './database.settings.js';
export { describeSettings, type SettingDescription } from './describe-settings.js';
export { HttpSettings, LOG_LEVELS, type LogLevel } from './http.settings.js';
export { IsTcpPort } from './is-tcp-port.js';
export { type Environment, loadConfig } from './load-config.js';
export { MQTT_PROTOCOL_VERSIONS, type MqttProtocolVersion, MqttSettings } from './mqtt.settings.js';
export { printSettings } from './print-settings.js';
export { Group, Setting } from './setting.js';
