package azuremltest

import (
	"net/http"
	"net/url"
)

const (
	discoveryPath = "/discovery"
	servicesPath  = "/modelmanagement/v1.0" + workspacePath
)

// modelManagement is the region's host: it says where the others are, and
// manages v1 web services.
func (a *Azure) modelManagement() http.Handler {
	p := newPlane(a, "modelmanagement", flat)
	p.on("GET "+discoveryPath, "discovery", a.discover)
	p.on("GET "+servicesPath+"/operations/{id}", "operation service", a.regional("read", a.pollService))

	services := servicesPath + "/services"
	p.on("GET "+services, "list services", a.regional("read", a.listServices))
	p.on("GET "+services+"/{name}", "get service/", a.regional("read", a.ofService(getService)))
	p.on("POST "+services+"/{name}/token", "token service/", a.regional("read", a.ofService(serviceToken)))
	p.on("POST "+services+"/{name}/listkeys", "listkeys service/", a.regional("", a.ofService(permitted("listkeys/action", listKeys))))
	p.on("POST "+services+"/{name}/regenerateKeys", "regenerate service/", a.regional("", a.ofService(permitted("write", regenerateService))))
	return p.mux
}

// discover answers with a flat map of hosts. It is asked without a token: one
// that came here would have been sent to an address that ARM's answer chose.
func (a *Azure) discover(r *http.Request) answer {
	if r.Header.Get("Authorization") != "" {
		return nested(http.StatusBadRequest, "BadRequest", "Discovery takes no Authorization.")
	}
	return jsonAnswer(http.StatusOK, fields{
		"api": a.model.url, "modelmanagement": a.model.url, "history": a.model.url, "studio": "https://ml.azure.test",
	})
}

// regional lets an operation happen only with a token for ARM, whose audience
// this host shares, in a workspace that exists, and by a principal that may.
func (a *Azure) regional(action string, do operation) operation {
	return func(r *http.Request) answer {
		if code, message, ok := a.checkBearer(r); !ok {
			return nested(http.StatusUnauthorized, code, message).with("WWW-Authenticate", a.challenge(code))
		}
		if refusal, ok := a.checkWorkspace(r, flat); !ok {
			return refusal
		}
		if action != "" && !a.may(actionPrefix+action) {
			return a.forbidden(actionPrefix+action, a.id())
		}
		return do(r)
	}
}

// permitted asks for an action that depends on where the service runs.
func permitted(action string, do func(*Scoring, *http.Request) answer) func(*Scoring, *http.Request) answer {
	return func(s *Scoring, r *http.Request) answer {
		full := actionPrefix + "services/" + s.compute.action() + "/" + action
		if !s.azure.may(full) {
			return s.azure.forbidden(full, s.azure.id())
		}
		return do(s, r)
	}
}

func (a *Azure) ofService(do func(*Scoring, *http.Request) answer) operation {
	return a.among(a.services, flat, do)
}

func getService(s *Scoring, _ *http.Request) answer { return jsonAnswer(http.StatusOK, s.service()) }

func (a *Azure) listServices(r *http.Request) answer {
	return a.page(r, a.services, "skipToken", a.model.url+r.URL.Path+"?v=1", (*Scoring).service)
}

// serviceToken is the same as that of an endpoint under other names, and 201.
func serviceToken(s *Scoring, _ *http.Request) answer {
	text, expires, refresh, refusal, ok := s.newToken()
	if !ok {
		return refusal
	}
	return jsonAnswer(http.StatusCreated, fields{
		"accessToken": text, "tokenType": "Bearer", "expiryOn": expires.Unix(), "refreshAfter": refresh.Unix(),
	})
}

// regenerateService answers with the pair, or with an operation to ask about.
// Only the last segment of that address means anything: clients put it behind
// their own base.
func regenerateService(s *Scoring, r *http.Request) answer {
	if refusal, ok := s.regenerate(r); !ok {
		return refusal
	}
	polls := s.behaviour().AsyncPolls
	if polls == 0 {
		return jsonAnswer(http.StatusOK, s.show())
	}
	location := "/api/subscriptions/" + url.PathEscape(s.azure.options.SubscriptionID) + "/operations/" + s.azure.begin(polls)
	return answer{status: http.StatusAccepted}.with("Operation-Location", location)
}

func (a *Azure) pollService(r *http.Request) answer {
	id := r.PathValue("id")
	done, known := a.poll(id)
	if !known {
		return flat(http.StatusNotFound, "NotFound", "No such operation.")
	}
	state := "Running"
	if done {
		state = "Succeeded"
	}
	return jsonAnswer(http.StatusOK, fields{"id": id, "operationType": "Service", "state": state})
}
