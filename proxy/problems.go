package proxy

// Problems returns the type of every refusal there is, which is what a Record's
// Problem may be: nothing that a caller writes adds another.
func Problems() []string {
	return []string{
		"audit-unavailable", "authentication-unavailable", "bad-body", "bad-framing", "bad-query", "bad-target", "credential-rejected", "credential-renewing",
		"credential-unavailable", "cross-site-request", "internal", "invalid-request", "invalid-token", "login-failed", "login-loop",
		"method-not-allowed", "not-allowed", "not-found", "rate-limited", "request-timeout", "sign-in-required",
		"too-large", "too-many-at-once", "upstream-timeout", "upstream-unreachable",
	}
}
