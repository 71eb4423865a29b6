package telemetry

// What the reference of the logs says around its tables.
const (
	logIntroduction = "# Logs\n\n<!-- Written by `go test ./internal/telemetry -update`; do not edit. -->\n\n" +
		"amlproxy writes its log to standard error: one JSON object a line, or lines for people with `AMLPROXY_LOG_FORMAT=console`.\n" +
		"Every line has `level` (debug, info, warn, error), `time` (RFC 3339), `logger` (which part of the program it is) and `msg`; what else it has depends on the message, and an `error` is the cause.\n\n" +
		"Requests do not wait for the log. A warning or an error is written at once; other lines within 0.1 s, many together, which is what is lost if the process is killed.\n" +
		"If standard error is not read, or its disk is full, lines are dropped, counted in `amlproxy_log_lines_dropped_total` and owned up to in the log as soon as it takes lines again; requests go on.\n\n" +
		"No credential, cookie, query or body is ever in a line. What callers write is cut (a path after 2 KiB, an error after 8 KiB, anything else after 512 bytes) and\n" +
		"every character that cannot be seen is escaped: no line can be forged, and no terminal commanded.\n\n" +
		"## The access log\n\n" +
		"One line for each request, with `\"logger\":\"access\"` and `\"msg\":\"request\"`: at error for a status of 500 and above, at debug for `/livez` and `/readyz`, else at info.\n" +
		"A field that has nothing to say is absent. Times are in seconds.\n\n"

	auditIntroduction = "\n## The audit\n\n" +
		"With `AMLPROXY_AUDIT_FILE`, every request that calls a model is put on record there, in two lines of JSON:\n\n" +
		"- `{\"event\":\"attempt\", …}` before the request is sent to the model. If this line cannot be written within a second (a full disk, a pipe that nobody reads), the request is refused with 503 and `Retry-After`, and not sent: no call is missing in the audit.\n" +
		"- `{\"event\":\"outcome\", …}` when it is over. It holds up nobody: if it cannot be written, that is counted in `amlproxy_audit_lines_lost_total`.\n\n" +
		"An attempt without an outcome: the call goes on still, or the process was killed, or the outcome was lost, or the line itself came too late and the request was refused.\n" +
		"Requests that are refused before (no credential, not allowed, over a limit) call no model and are in the access log alone.\n\n" +
		"Both lines say when they were written (`time`), and:\n\n"

	auditFiling = "\nThe file is made with the permissions 0600, since it says who people are, and is only ever appended to.\n" +
		"When it was moved away (as logrotate does) the next line makes it anew, at once after SIGHUP; else lines of the next second may still go to the file that was moved. None is lost. `copytruncate` is not needed.\n" +
		"`-` means standard output, for a platform that collects it: the log goes to standard error, so the two do not mix.\n" +
		"A line that is no JSON was torn by a full disk or a crash; the request that it was for was refused. A line is with the operating system when the request is sent: it outlives the process, and not a power cut.\n"
)
