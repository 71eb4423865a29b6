// Package azureml finds out, by asking an Azure Machine Learning workspace,
// what a call to a scoring endpoint needs: where the endpoint is, how it
// authenticates, and the key or token that it wants.
//
// A [Workspace] holds the proxy's own identity and where its workspace is. Its
// methods make one [upstream.Source] for each endpoint:
//
//   - [Workspace.Service]: a v1 web service on ACI or AKS, through the model
//     management service, whose host the workspace names;
//   - [Workspace.Endpoint]: a v2 online endpoint, through Azure Resource Manager;
//   - [Workspace.Serverless]: a serverless endpoint, likewise;
//   - [Workspace.Entra]: an address given by hand that takes an Entra token.
//
// The package is the only importer of azidentity and azcore. It caches no
// credential of an endpoint (package upstream does) and never calls one. It
// follows no redirect, reads no answer beyond 1 MiB, waits for none longer than
// 15 seconds, and puts no secret and no unparsed answer into an error.
package azureml
