// Package models holds the three models that the demo puts behind a sign-in:
// real ones, trained on real data, small enough to be part of the binary.
//
//   - diabetes: a regression on the diabetes data of Efron, Hastie, Johnstone and
//     Tibshirani; ten features, scaled as scikit-learn's load_diabetes returns them;
//   - digits: which digit an image of 8×8 pixels shows, each pixel from 0 to 16;
//   - iris: which of three species a flower is, from four lengths in centimetres.
//
// A [Model] is an http.Handler and answers as a scoring script behind Azure ML's
// inference server does: POST {"data": [[…], …]} gets {"result": […]}, one
// result a row; a mistake in the input gets 400 and {"message": "…"}; GET
// swagger.json describes it. What the server around the script adds, such as
// authentication, request ids, timing headers and the health check on its root,
// is not here: package azuremltest has it.
//
// The weights are files under weights/, each with its provenance; package train
// makes them again, byte for byte (go generate). The rows under testdata/ took
// no part in the training, and a test measures the models on them.
package models

//go:generate go run generate.go
