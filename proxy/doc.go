// Package proxy is what a caller meets.
package proxy
