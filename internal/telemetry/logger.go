package telemetry

import (
	"fmt"
	"io"
	"sync"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

const timeLayout = time.RFC3339Nano

// NewLogger returns a logger that writes to w: level is debug, info, warn or
// error; format is json for programs or console for people. What callers wrote is
// escaped in either, and bounded.
//
// Nobody waits for w, whatever it does, but for a moment with a warning or an
// error, which are written at once. Lines that w does not take are dropped; see
// [Metrics.WatchLog]. Sync waits until all lines are written, or for a second.
func NewLogger(w io.Writer, level, format string) (*zap.Logger, error) {
	lowest, err := zapcore.ParseLevel(level)
	if err != nil {
		return nil, fmt.Errorf("log level: %w", err)
	}
	keys := zap.NewProductionEncoderConfig()
	keys.TimeKey, keys.EncodeTime = "time", zapcore.RFC3339NanoTimeEncoder
	keys.EncodeDuration = zapcore.SecondsDurationEncoder
	var encoder zapcore.Encoder
	switch format {
	case "json":
		encoder = zapcore.NewJSONEncoder(keys)
	case "console":
		keys.EncodeTime, keys.EncodeDuration = zapcore.TimeEncoderOfLayout("15:04:05.000"), zapcore.StringDurationEncoder
		encoder = zapcore.NewConsoleEncoder(keys)
	default:
		return nil, fmt.Errorf("log format: there is no %q", format)
	}
	return zap.New(newCore(w, lowest, encoder, format == "json")), nil
}

// A core encodes entries for a sink.
type core struct {
	zapcore.LevelEnabler
	encoder zapcore.Encoder
	json    bool
	sink    *sink
	buffers *sync.Pool // of *[]byte, in which lines are made
}

func newCore(w io.Writer, lowest zapcore.Level, encoder zapcore.Encoder, json bool) *core {
	c := &core{LevelEnabler: lowest, encoder: encoder, json: json, buffers: new(sync.Pool)}
	c.sink = newSink(w, func(dropped int64) []byte {
		e := zapcore.Entry{Level: zapcore.WarnLevel, Time: time.Now(), LoggerName: "log", Message: "lines of this log were dropped: it was not written to fast enough, or not at all"}
		return c.encode(e, []zapcore.Field{zap.Int64("dropped", dropped)})
	})
	return c
}

// With implements [zapcore.Core].
func (c *core) With(fields []zapcore.Field) zapcore.Core {
	with := *c
	with.encoder = c.encoder.Clone()
	for _, f := range fields {
		bound(f).AddTo(with.encoder)
	}
	return &with
}

// Check implements [zapcore.Core].
func (c *core) Check(e zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return checked.AddCore(e, c)
	}
	return checked
}

// Write implements [zapcore.Core].
func (c *core) Write(e zapcore.Entry, fields []zapcore.Field) error {
	c.sink.write(c.encode(e, fields), urgent(e.Level))
	return nil
}

func urgent(l zapcore.Level) bool { return l >= zapcore.WarnLevel }

// Sync implements [zapcore.Core].
func (c *core) Sync() error { return c.sink.flush() }

func (c *core) encode(e zapcore.Entry, fields []zapcore.Field) []byte {
	e.Message = cut(e.Message, maxError)
	short := make([]zapcore.Field, len(fields))
	for i, f := range fields {
		short[i] = bound(f)
	}
	buffer, err := c.encoder.EncodeEntry(e, short)
	if err != nil {
		return nil // zap's encoders fail at values that are no fields of ours
	}
	defer buffer.Free()
	return append([]byte(nil), printable(buffer.Bytes())...)
}

// bound cuts what others may have written. Of an error it takes what it says: zap
// would add all that it can show, its stack say.
func bound(f zapcore.Field) zapcore.Field {
	switch f.Type {
	case zapcore.StringType:
		f.String = cut(f.String, maxError)
	case zapcore.ErrorType:
		if err, ok := f.Interface.(error); ok {
			return zap.String(f.Key, cut(err.Error(), maxError))
		}
	}
	return f
}
