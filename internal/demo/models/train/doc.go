// Package train makes the weights of the demo's models out of the data sets
// that scikit-learn ships. It runs by hand (go generate) and in one test, which
// trains again and compares; the demo itself only reads what it wrote.
//
// The same data give the same bytes, on every machine: the split and the first
// weights come from a seeded PCG, rows are visited in a fixed order, no product
// is fused (see package trained), and nothing is used whose result may differ
// between processors. That is why the classifiers learn with the squared hinge
// loss, which needs no exponential function.
package train
