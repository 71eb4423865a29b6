package azuremltest

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/time/rate"
)

const (
	provider      = "Microsoft.MachineLearningServices"
	workspacePath = "/subscriptions/{sub}/resourceGroups/{group}/providers/" + provider + "/workspaces/{workspace}"
	resultsPath   = "/subscriptions/{sub}/providers/" + provider + "/locations/{location}/mfeOperationResults/{id}"

	permissionsPath = "/providers/Microsoft.Authorization/permissions"

	actionPrefix = provider + "/workspaces/"

	// pageSize is as small as can be: who does not follow nextLink is found out.
	pageSize = 2
)

// resourceManager is ARM as far as the workspace and its v2 endpoints go.
func (a *Azure) resourceManager() http.Handler {
	p := newPlane(a, "arm", nested)
	p.on("GET "+workspacePath, "workspace", a.guarded("read", a.getWorkspace))
	p.on("GET "+workspacePath+permissionsPath, "permissions", a.authorization(a.permissions))
	p.on("GET "+workspacePath+"/{kind}/{name}"+permissionsPath, "permissions", a.authorization(a.permissions))
	p.on("GET "+resultsPath, "operation endpoint", a.guarded("read", a.pollEndpoint))

	online := workspacePath + "/onlineEndpoints"
	p.on("GET "+online, "list endpoints", a.guarded("onlineEndpoints/read", a.listing(a.endpoints, "onlineEndpoints")))
	p.on("GET "+online+"/{name}", "get endpoint/", a.guarded("onlineEndpoints/read", a.ofEndpoint(getEndpoint)))
	p.on("POST "+online+"/{name}/listKeys", "listkeys endpoint/", a.guarded("onlineEndpoints/listKeys/action", a.ofEndpoint(listKeys)))
	p.on("POST "+online+"/{name}/token", "token endpoint/", a.guarded("onlineEndpoints/token/action", a.ofEndpoint(endpointToken)))
	p.on("POST "+online+"/{name}/regenerateKeys", "regenerate endpoint/", a.guarded("onlineEndpoints/regenerateKeys/action", a.ofEndpoint(regenerateEndpoint)))

	serverless := workspacePath + "/serverlessEndpoints"
	p.on("GET "+serverless, "list serverless", a.guarded("serverlessEndpoints/read", a.listing(a.serverless, "serverlessEndpoints")))
	p.on("GET "+serverless+"/{name}", "get serverless/", a.guarded("serverlessEndpoints/read", a.ofServerless(getEndpoint)))
	p.on("POST "+serverless+"/{name}/listKeys", "listkeys serverless/", a.guarded("serverlessEndpoints/listKeys/action", a.ofServerless(listKeys)))
	p.on("POST "+serverless+"/{name}/regenerateKeys", "regenerate serverless/", a.guarded("serverlessEndpoints/regenerateKeys/action", a.ofServerless(regenerateEndpoint)))
	return p.mux
}

// guarded lets an operation happen only as ARM would: with a token for it, an
// api-version, within the rate limit, in a workspace that exists, and by a
// principal that may.
func (a *Azure) guarded(action string, do operation) operation {
	return a.checked("2022-05-01", actionPrefix+action, scopeOf, do)
}

// authorization is guarded for the provider that knows about roles.
func (a *Azure) authorization(do operation) operation {
	scope := func(r *http.Request) string { return strings.TrimSuffix(r.URL.Path, permissionsPath) }
	return a.checked("2015-07-01", "Microsoft.Authorization/permissions/read", scope, do)
}

func (a *Azure) checked(oldest, action string, scope func(*http.Request) string, do operation) operation {
	return func(r *http.Request) answer {
		if code, message, ok := a.checkBearer(r); !ok {
			return nested(http.StatusUnauthorized, code, message).with("WWW-Authenticate", a.challenge(code))
		}
		if refusal, ok := checkVersion(r, oldest); !ok {
			return refusal
		}
		if wait, ok := a.throttled(r.Method); !ok {
			return nested(http.StatusTooManyRequests, "TooManyRequests", "Too many requests.").with("Retry-After", seconds(wait))
		}
		if refusal, ok := a.checkWorkspace(r, nested); !ok {
			return refusal
		}
		if !a.may(action) {
			return a.forbidden(action, scope(r))
		}
		return do(r)
	}
}

// scopeOf is the resource of a call: its path, without a POST's action.
func scopeOf(r *http.Request) string {
	if r.Method == http.MethodPost {
		return path.Dir(r.URL.Path)
	}
	return r.URL.Path
}

var version = regexp.MustCompile(`^20\d\d-\d\d-\d\d(-preview)?$`)

// checkVersion demands an api-version, and not one from before there was what is
// asked for.
func checkVersion(r *http.Request, oldest string) (answer, bool) {
	switch v := r.URL.Query().Get("api-version"); {
	case v == "":
		return nested(http.StatusBadRequest, "MissingApiVersionParameter", "The api-version query parameter (?api-version=) is required for all requests."), false
	case !version.MatchString(v) || v < oldest:
		return nested(http.StatusBadRequest, "InvalidApiVersionParameter", "The api-version '"+v+"' is invalid."), false
	}
	return answer{}, true
}

// throttled takes from the bucket that the method belongs to; POST actions
// count as writes. If it is empty, it returns when it will not be.
func (a *Azure) throttled(method string) (time.Duration, bool) {
	bucket := a.writes
	if method == http.MethodGet {
		bucket = a.reads
	}
	now := a.clock.Now()
	if bucket.AllowN(now, 1) {
		return 0, true
	}
	missing := 1 - bucket.TokensAt(now)
	return time.Duration(missing / float64(bucket.Limit()) * float64(time.Second)), false
}

// buckets are ARM's, per subscription, region and principal: reads, and writes.
func buckets() (reads, writes *rate.Limiter) {
	return rate.NewLimiter(25, 250), rate.NewLimiter(10, 200)
}

// checkWorkspace refuses every workspace but the one there is.
func (a *Azure) checkWorkspace(r *http.Request, fail shape) (answer, bool) {
	group, workspace := r.PathValue("group"), r.PathValue("workspace")
	switch {
	case r.PathValue("sub") != a.options.SubscriptionID:
		return fail(http.StatusNotFound, "SubscriptionNotFound", "The subscription '"+r.PathValue("sub")+"' could not be found."), false
	case group != "" && group != a.options.ResourceGroup:
		return fail(http.StatusNotFound, "ResourceGroupNotFound", "Resource group '"+group+"' could not be found."), false
	case workspace != "" && workspace != a.options.Workspace:
		return fail(http.StatusNotFound, "ResourceNotFound", "The Resource '"+provider+"/workspaces/"+workspace+"' under resource group '"+group+"' was not found."), false
	}
	return answer{}, true
}

func (a *Azure) getWorkspace(*http.Request) answer {
	return jsonAnswer(http.StatusOK, fields{
		"id": a.id(), "name": a.options.Workspace, "type": provider + "/workspaces",
		"location": a.options.Location, "tags": fields{},
		"properties": fields{
			"friendlyName": a.options.Workspace, "workspaceId": a.workspaceID, "provisioningState": "Succeeded",
			"discoveryUrl": a.model.url + discoveryPath, "hbiWorkspace": false,
		},
	})
}

// ofEndpoint finds the online endpoint that a path names.
func (a *Azure) ofEndpoint(do func(*Scoring, *http.Request) answer) operation {
	return a.among(a.endpoints, nested, do)
}

func (a *Azure) ofServerless(do func(*Scoring, *http.Request) answer) operation {
	return a.among(a.serverless, nested, do)
}

func (a *Azure) among(all map[string]*Scoring, fail shape, do func(*Scoring, *http.Request) answer) operation {
	return func(r *http.Request) answer {
		name := r.PathValue("name")
		a.mu.Lock()
		s := all[name]
		a.mu.Unlock()
		if s == nil {
			return fail(http.StatusNotFound, "ResourceNotFound", "'"+name+"' was not found in workspace '"+a.options.Workspace+"'.")
		}
		return do(s, r)
	}
}

func getEndpoint(s *Scoring, _ *http.Request) answer { return jsonAnswer(http.StatusOK, s.resource()) }

// listing answers with one page of the collection.
func (a *Azure) listing(all map[string]*Scoring, collection string) operation {
	return func(r *http.Request) answer {
		next := a.arm.url + a.id(collection) + "?api-version=" + url.QueryEscape(r.URL.Query().Get("api-version"))
		return a.page(r, all, "$skip", next, (*Scoring).resource)
	}
}

// page answers with those after what the query says was skipped.
func (a *Azure) page(r *http.Request, all map[string]*Scoring, skip, next string, show func(*Scoring) fields) answer {
	a.mu.Lock()
	names := slices.Sorted(maps.Keys(all))
	scorings := maps.Clone(all)
	a.mu.Unlock()
	from, _ := strconv.Atoi(r.URL.Query().Get(skip)) // anything else is the first page
	from = min(max(from, 0), len(names))
	to := min(from+pageSize, len(names))
	value := make([]fields, 0, pageSize)
	for _, name := range names[from:to] {
		value = append(value, show(scorings[name]))
	}
	body := fields{"value": value, "nextLink": nil}
	if to < len(names) {
		body["nextLink"] = next + "&" + url.QueryEscape(skip) + "=" + strconv.Itoa(to)
	}
	return jsonAnswer(http.StatusOK, body)
}

func listKeys(s *Scoring, _ *http.Request) answer {
	if s.Auth() != Key {
		return s.fail(http.StatusBadRequest, "BadRequest", "'"+s.name+"' does not authenticate by key.")
	}
	return jsonAnswer(http.StatusOK, s.show())
}

func endpointToken(s *Scoring, _ *http.Request) answer {
	text, expires, refresh, refusal, ok := s.newToken()
	if !ok {
		return refusal
	}
	return jsonAnswer(http.StatusOK, fields{
		"accessToken": text, "tokenType": "Bearer",
		"expiryTimeUtc": expires.Unix(), "refreshAfterTimeUtc": refresh.Unix(),
	})
}

// regenerateEndpoint makes a new key at once; it may only say so later.
func regenerateEndpoint(s *Scoring, r *http.Request) answer {
	if refusal, ok := s.regenerate(r); !ok {
		return refusal
	}
	polls := s.behaviour().AsyncPolls
	if polls == 0 {
		return answer{status: http.StatusOK}
	}
	a := s.azure
	location := a.arm.url + "/subscriptions/" + url.PathEscape(a.options.SubscriptionID) + "/providers/" + provider +
		"/locations/" + url.PathEscape(a.options.Location) + "/mfeOperationResults/" + a.begin(polls) + "?api-version=" + url.QueryEscape(r.URL.Query().Get("api-version"))
	return answer{status: http.StatusAccepted}.with("Location", location).with("Retry-After", "1")
}

// pollEndpoint is the address that a 202 named: 202 again until it is done.
func (a *Azure) pollEndpoint(r *http.Request) answer {
	done, known := a.poll(r.PathValue("id"))
	switch {
	case !known:
		return nested(http.StatusNotFound, "NotFound", "No such operation.")
	case !done:
		return answer{status: http.StatusAccepted}.with("Location", a.arm.url+r.URL.RequestURI()).with("Retry-After", "1")
	}
	return answer{status: http.StatusOK}
}

// regenerate does what the body of a regenerateKeys says, the same in v1 and v2.
func (s *Scoring) regenerate(r *http.Request) (answer, bool) {
	var body struct {
		KeyType  KeyType `json:"keyType"`
		KeyValue *string `json:"keyValue"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(nil, r.Body, 64<<10)).Decode(&body); err != nil {
		return s.fail(http.StatusBadRequest, "BadRequest", "The body is not the JSON that was expected."), false
	}
	if body.KeyType != Primary && body.KeyType != Secondary {
		return s.fail(http.StatusBadRequest, "BadRequest", "keyType must be Primary or Secondary."), false
	}
	if s.Auth() != Key {
		return s.fail(http.StatusBadRequest, "BadRequest", "'"+s.name+"' does not authenticate by key."), false
	}
	s.renew(body.KeyType, body.KeyValue)
	return answer{}, true
}
