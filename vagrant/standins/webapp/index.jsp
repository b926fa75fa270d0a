<%@ page contentType="text/plain" session="false" %>test application
