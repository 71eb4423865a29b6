// Package azuremltest is an Azure with one machine learning workspace in it, on
// loopback and in this process, for the tests and for the demo. It is meant to
// be no kinder than the real one: what it demands (audiences, api-version,
// paths, methods) it refuses to do without, and on command it is as unkind as
// the real one gets on a bad day.
//
// [Start] opens four kinds of host, each on a port of its own, and those with
// TLS certified by a CA made for the occasion:
//
//   - an Entra authority, which issues tokens to one client (authority.go);
//   - Azure Resource Manager: the workspace and its v2 endpoints (arm.go);
//   - the region's model management: host discovery and v1 services
//     (modelmanagement.go);
//   - a scoring server for each [Service], [Endpoint] and [Serverless] that is
//     added (scoring.go), behind which an http.Handler is the model.
//
// # Operations
//
// Every call that the first three hosts answer is an operation. [Azure.Calls]
// counts them and [Azure.Fail] makes them fail, under these names:
//
//	authority discovery · authority keys · authority token
//	workspace · permissions
//	get endpoint/NAME · list endpoints · listkeys endpoint/NAME · token endpoint/NAME · regenerate endpoint/NAME
//	get serverless/NAME · list serverless · listkeys serverless/NAME · regenerate serverless/NAME
//	operation endpoint
//	discovery
//	get service/NAME · list services · listkeys service/NAME · token service/NAME · regenerate service/NAME
//	operation service
//	unknown METHOD PATH
//
// # Unkindness
//
// [Fault] is for operations: slow, refused, throttled, lost, cut, huge, trickled.
// [Behaviour] is for scoring servers, above all how they refuse a credential and
// when. [Scoring] has what people do to an endpoint: regenerate keys, revoke
// tokens, change how it authenticates, move it. [Azure.Deny] takes permissions
// away, [Azure.Hold] all but those named. ARM's rate limit is there without being asked for. With a [Clock] or a
// [Network], nothing of this takes a test any real time.
//
// # What it is not
//
// Names in paths are compared exactly, where Azure ignores case; tokens are
// signed with ES256, where Entra signs with RS256 (their text means nothing to
// those who carry them); nothing can be created or deleted through ARM; no
// answer is compressed.
package azuremltest
