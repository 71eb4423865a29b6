package proxy

import (
	"net/http"
	"time"
)

// admit puts on record that the request is about to be forwarded, where such a
// record is kept. What cannot be recorded does not happen: an audit that ends when
// a disk is full is one that whoever fills the disk can switch off.
func (x *exchange) admit() *refusal {
	var err error
	if x.p.admitter != nil {
		err = x.p.admitter(x.r.Context(), &x.record)
	}
	if err != nil {
		return &refusal{
			status: http.StatusServiceUnavailable, problem: "audit-unavailable", title: "The model cannot be called just now", err: err,
			detail: "Calls of this model are put on record, and that is not possible at the moment. The request was not sent to the model.", retryAfter: 5 * time.Second,
		}
	}
	x.record.Admitted = true
	return nil
}
