package telemetry

import (
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"amlproxy/proxy"
)

// AccessLog returns a consumer of Records that writes one line each: at info,
// at error where the fault is ours or the upstream's. The health checks of a
// platform, a line every few seconds, are at debug.
func AccessLog(log *zap.Logger) func(*proxy.Record) {
	log = log.Named("access")
	c, ok := log.Core().(*core)
	if !ok || !c.json {
		return func(r *proxy.Record) {
			if line := log.Check(levelOf(r), "request"); line != nil {
				line.Write(accessFields(r)...)
			}
		}
	}
	return func(r *proxy.Record) {
		if level := levelOf(r); c.Enabled(level) {
			c.access(level, log.Name(), r)
		}
	}
}

// access writes the line that zap would, for less.
func (c *core) access(level zapcore.Level, name string, r *proxy.Record) {
	buffer, ok := c.buffers.Get().(*[]byte)
	if !ok {
		buffer = new([]byte)
	}
	b := append((*buffer)[:0], `{"level":"`...)
	b = append(b, level.String()...)
	b = append(b, `","time":"`...)
	b = r.Start.Add(r.Duration).AppendFormat(b, timeLayout)
	b = append(b, `","logger":`...)
	b = appendText(b, name, maxWord)
	l := line{json: append(b, `,"msg":"request"`...)}
	accessColumns(&l, r)
	b = append(l.json, '}', '\n')
	c.sink.write(b, urgent(level))
	*buffer = b
	c.buffers.Put(buffer)
}

// accessFields is what the line says, for zap's other encoders.
func accessFields(r *proxy.Record) []zap.Field {
	var fields []zap.Field
	accessColumns(&line{fields: &fields}, r)
	return fields
}

func levelOf(r *proxy.Record) zapcore.Level {
	switch {
	case r.Status >= 500:
		return zapcore.ErrorLevel
	case r.Endpoint == "livez" || r.Endpoint == "readyz":
		return zapcore.DebugLevel
	}
	return zapcore.InfoLevel
}
